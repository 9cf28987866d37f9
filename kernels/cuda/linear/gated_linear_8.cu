#include "kernels/cuda/linear/gated_linear.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_GATED_KERNELS_8(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
