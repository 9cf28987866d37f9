#include "kernels/buffer.hpp"
#include "kernels/cuda/error.hpp"

namespace hack::kernels {

template <>
void* allocate<Device::cuda>(std::size_t bytes) {
  void* data = nullptr;
  HACK_CUDA(cudaMalloc(&data, bytes));
  return data;
}

template <>
void deallocate<Device::cuda>(void* data) noexcept {
  cudaFree(data);
}

template <>
void copy_from_host<Device::cuda>(void* to, const void* host, std::size_t bytes) {
  HACK_CUDA(cudaMemcpy(to, host, bytes, cudaMemcpyHostToDevice));
}

template <>
void copy_to_host<Device::cuda>(void* host, const void* from, std::size_t bytes) {
  HACK_CUDA(cudaMemcpy(host, from, bytes, cudaMemcpyDeviceToHost));
}

}  // namespace hack::kernels
