#include "kernels/cuda/factorize/kept_vectors.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_KEPT_VECTORS_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
