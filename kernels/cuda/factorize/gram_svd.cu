#include "kernels/cuda/factorize/gram_svd.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_GRAM_SVD_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
