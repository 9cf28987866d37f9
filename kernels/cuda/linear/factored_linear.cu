#include "kernels/cuda/linear/factored_linear.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_FACTORED_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
