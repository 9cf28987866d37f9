#include "kernels/cuda/linear/factored_product.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_FACTORED_PRODUCT_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
