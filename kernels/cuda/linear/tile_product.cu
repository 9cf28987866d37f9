#include "kernels/cuda/linear/tile_product.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_TILE_PRODUCT_KERNELS_1(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
