#include "kernels/copy.hpp"

#include <thread>

#include "kernels/cuda/linear/blas_error.hpp"
#include "kernels/cuda/memory/error.hpp"
#include "kernels/cuda/memory/resources.hpp"

namespace hack {

namespace {

cudaStream_t stream_of(const Queue<Device::cuda>& queue) {
  return static_cast<cudaStream_t>(queue.resources().stream());
}

}  // namespace

Queue<Device::cuda>::Queue(int threads, Products /*products*/) : threads_(threads) {
  cudaStream_t stream = nullptr;
  HACK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cublasLtHandle_t blas = nullptr;
  HACK_BLAS(cublasLtCreate(&blas));
  resources_ = std::make_unique<kernels::cuda::Resources>(stream, blas);
}

Queue<Device::cuda>::~Queue() {
  resources_->dense_library().reset();  // its handles are bound to the stream
  cublasLtDestroy(static_cast<cublasLtHandle_t>(resources_->blas()));
  cudaStreamDestroy(stream_of(*this));
}

// Polls where collectives may be in the queue: a blocking wait never returns when a peer has stopped.
void Queue<Device::cuda>::wait() {
  kernels::cuda::WaitObserver* observer = resources_->observer();
  if (observer == nullptr) {
    HACK_CUDA(cudaStreamSynchronize(stream_of(*this)));
    return;
  }
  while (true) {
    const cudaError_t state = cudaStreamQuery(stream_of(*this));
    if (state == cudaSuccess) break;
    if (state != cudaErrorNotReady) kernels::check_cuda(state, "cudaStreamQuery");
    cudaGetLastError();  // that work is not done is an answer; the next launch would be blamed for it
    observer->on_waiting();
    std::this_thread::yield();
  }
  observer->on_done();
}

namespace kernels {

template <>
void copy_rows<Device::cuda>(Queue<Device::cuda>& queue, void* to, std::size_t to_pitch, const void* from,
                             std::size_t from_pitch, std::size_t bytes, index_t rows) {
  if (bytes == 0 || rows == 0) return;
  HACK_CUDA(cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, bytes, static_cast<std::size_t>(rows),
                              cudaMemcpyDeviceToDevice, stream_of(queue)));
}

}  // namespace kernels

namespace kernels::cuda {

void upload(Queue<Device::cuda>& queue, void* to, const void* host, std::size_t bytes) {
  // From pageable memory: CUDA has its own copy when the call returns.
  HACK_CUDA(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, stream_of(queue)));
}

void download(Queue<Device::cuda>& queue, void* host, const void* from, std::size_t bytes) {
  HACK_CUDA(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream_of(queue)));
  queue.wait();
}

void clear(Queue<Device::cuda>& queue, void* to, std::size_t bytes) {
  HACK_CUDA(cudaMemsetAsync(to, 0, bytes, stream_of(queue)));
}

void check_launch(int code, const char* kernel) {
  const auto error = static_cast<cudaError_t>(code);
  if (error != cudaSuccess) fail("launch of {} failed: {}", kernel, cudaGetErrorString(error));
}

}  // namespace kernels::cuda

}  // namespace hack
