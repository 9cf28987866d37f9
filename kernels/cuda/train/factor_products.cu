#include "kernels/cuda/train/factor_products.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_FACTOR_PRODUCTS_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
