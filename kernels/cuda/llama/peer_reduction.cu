#include "kernels/cuda/llama/peer_reduction.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

HACK_PEER_KERNELS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
