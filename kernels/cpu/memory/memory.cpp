#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/buffer.hpp"
#include "kernels/cpu/memory/page_pool.hpp"

namespace hack::kernels {
namespace {

// From here on memory comes from the pool of large pages. A sanitizer sees the ends of malloc's pieces alone.
#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t pooled_bytes = SIZE_MAX;
#else
constexpr std::size_t pooled_bytes = 128 * 1024;
#endif

}  // namespace

template <>
void* allocate<Device::cpu>(std::size_t bytes) {
  constexpr std::size_t alignment = 64;  // one cache line, one AVX-512 register
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* data = bytes >= pooled_bytes ? PagePool::instance().take(rounded) : std::aligned_alloc(alignment, rounded);
  validate(data != nullptr,
           "no room for {} bytes of host memory; use more ranks, or hold weights in a narrower number type", bytes);
  return data;
}

template <>
void deallocate<Device::cpu>(void* data) noexcept {
  if (pooled_bytes == SIZE_MAX || !PagePool::instance().give_back(data)) std::free(data);
}

template <>
void copy_from_host<Device::cpu>(void* to, const void* host, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, host, bytes);  // of nothing both may be null
}

template <>
void copy_to_host<Device::cpu>(void* host, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(host, from, bytes);
}

}  // namespace hack::kernels
