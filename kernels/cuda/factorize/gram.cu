#include "kernels/cuda/factorize/gram.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_GRAM_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
