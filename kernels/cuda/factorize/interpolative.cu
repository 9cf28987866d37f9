#include "kernels/cuda/factorize/interpolative.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_INTERPOLATIVE_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
