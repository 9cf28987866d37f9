#include "kernels/cuda/llama/attention.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_ATTENTION_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
