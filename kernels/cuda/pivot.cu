#include "kernels/cuda/pivot.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_PIVOT_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
