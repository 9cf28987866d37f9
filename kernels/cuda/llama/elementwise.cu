#include "kernels/cuda/llama/elementwise.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_ELEMENTWISE_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
