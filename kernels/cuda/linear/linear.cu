#include "kernels/cuda/linear/linear.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_LINEAR_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
