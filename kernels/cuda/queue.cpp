#include "kernels/queue.hpp"

#include "kernels/cuda/error.hpp"

namespace hack {

Queue<Device::cuda>::Queue(int /*threads*/) {
  cudaStream_t stream = nullptr;
  HACK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  stream_ = stream;
}

Queue<Device::cuda>::~Queue() { cudaStreamDestroy(static_cast<cudaStream_t>(stream_)); }

void Queue<Device::cuda>::wait() { HACK_CUDA(cudaStreamSynchronize(static_cast<cudaStream_t>(stream_))); }

}  // namespace hack
