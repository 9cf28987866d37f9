#include "kernels/cuda/train/back_propagation.cuh"

#include "kernels/cuda/enqueue.cuh"
#include "kernels/cuda/train/attention_gradient.cuh"

namespace hack::kernels::cuda {

HACK_BACK_PROPAGATION_KERNELS(HACK_INSTANTIATE_KERNEL)
HACK_ATTENTION_GRADIENT_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
