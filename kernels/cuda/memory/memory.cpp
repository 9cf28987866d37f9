#include "kernels/buffer.hpp"
#include "kernels/cuda/memory/error.hpp"

namespace hack::kernels {

template <>
void* allocate<Device::cuda>(std::size_t bytes) {
  // Kernels read 16 bytes at a time, and so may touch up to 15 behind the last number.
  const std::size_t rounded = (bytes + 15) / 16 * 16;
  void* data = nullptr;
  const cudaError_t code = cudaMalloc(&data, rounded);
  validate(code != cudaErrorMemoryAllocation,
           "no room for {} bytes of GPU memory; use more ranks, or hold weights in a narrower number type", bytes);
  check_cuda(code, "cudaMalloc");
  return data;
}

template <>
void deallocate<Device::cuda>(void* data) noexcept {
  cudaFree(data);
}

template <>
void copy_from_host<Device::cuda>(void* to, const void* host, std::size_t bytes) {
  HACK_CUDA(cudaMemcpy(to, host, bytes, cudaMemcpyHostToDevice));
  // cudaMemcpy returns when pageable memory is read, not when the GPU has it; queues do not wait for its stream.
  HACK_CUDA(cudaStreamSynchronize(cudaStreamLegacy));
}

template <>
void copy_to_host<Device::cuda>(void* host, const void* from, std::size_t bytes) {
  HACK_CUDA(cudaMemcpy(host, from, bytes, cudaMemcpyDeviceToHost));
}

}  // namespace hack::kernels
