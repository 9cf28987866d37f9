#include "kernels/cuda/train/batched_products.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_BATCHED_PRODUCTS_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
