#include "kernels/cuda/llama/norm.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_NORM_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
