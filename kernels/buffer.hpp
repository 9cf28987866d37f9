#pragma once

#include <cstddef>
#include <utility>

#include "kernels/device.hpp"
#include "kernels/dtype.hpp"
#include "kernels/error.hpp"

namespace hack {

namespace kernels {

/// Allocates `bytes` aligned to 64; an Error states the size if there is no room.
template <Device D>
void* allocate(std::size_t bytes);

/// Gives memory of `allocate` back; never throws.
template <Device D>
void deallocate(void* data) noexcept;

/// Copies `bytes` between host memory and memory of D, either way.
template <Device D>
void copy_from_host(void* to, const void* host, std::size_t bytes);
template <Device D>
void copy_to_host(void* host, const void* from, std::size_t bytes);

}  // namespace kernels

/// Owns `size` numbers of type T on device D. Moves, never copies; not initialized.
template <class T, Device D = Device::cpu>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(index_t size) : size_(size) {
    HACK_EXPECT(size >= 0);
    if (size > 0) {
      data_ = static_cast<T*>(kernels::allocate<D>(static_cast<std::size_t>(size) * sizeof(T)));
    }
  }
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != nullptr) kernels::deallocate<D>(data_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  index_t size() const { return size_; }
  index_t bytes() const { return size_ * static_cast<index_t>(sizeof(T)); }

 private:
  T* data_ = nullptr;
  index_t size_ = 0;
};

/// A copy on D of host numbers.
template <Device D, class T>
Buffer<T, D> to_device(const T* host, index_t size) {
  Buffer<T, D> out(size);
  if (size > 0) kernels::copy_from_host<D>(out.data(), host, out.bytes());
  return out;
}

}  // namespace hack
