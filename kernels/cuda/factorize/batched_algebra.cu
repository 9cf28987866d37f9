#include "kernels/cuda/factorize/batched_algebra.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_BATCHED_ALGEBRA_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
