#include "kernels/cuda/train/gradient.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_GRADIENT_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
