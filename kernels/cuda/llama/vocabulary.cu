#include "kernels/cuda/llama/vocabulary.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_VOCABULARY_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
