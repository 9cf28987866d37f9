#include "kernels/cuda/llama/head_projection.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_HEAD_PROJECTION_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
