#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/buffer.hpp"

namespace hack::kernels {

template <>
void* allocate<Device::cpu>(std::size_t bytes) {
  constexpr std::size_t alignment = 64;  // one cache line, one AVX-512 register
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, rounded);
  validate(data != nullptr, "no room for {} bytes of host memory; use more ranks or a narrower --dtype", bytes);
  return data;
}

template <>
void deallocate<Device::cpu>(void* data) noexcept {
  std::free(data);
}

template <>
void copy_from_host<Device::cpu>(void* to, const void* host, std::size_t bytes) {
  std::memcpy(to, host, bytes);
}

template <>
void copy_to_host<Device::cpu>(void* host, const void* from, std::size_t bytes) {
  std::memcpy(host, from, bytes);
}

}  // namespace hack::kernels
