#include "kernels/cuda/factorize/tile_svd.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_TILE_SVD_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
