#include "kernels/cuda/llama/sampling.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_SAMPLING_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
