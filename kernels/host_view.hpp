#pragma once

#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack {

/// Contiguous numbers of D where the host reads them: they themselves on the CPU, else a copy as of now, for which the
/// queue is waited for.
template <class T, Device D>
class HostView {
 public:
  HostView(Queue<D>& queue, const T* data, index_t size) : data_(data), size_(size) {
    if constexpr (D != Device::cpu) {
      copy_ = Buffer<T>(size);
      queue.wait();
      if (size > 0) kernels::copy_to_host<D>(copy_.data(), data, static_cast<std::size_t>(copy_.bytes()));
      data_ = copy_.data();
    }
  }

  const T* data() const { return data_; }
  std::span<const T> span() const& { return {data_, static_cast<std::size_t>(size_)}; }
  std::span<const T> span() const&& = delete;  // the copy would be gone

 private:
  Buffer<T> copy_;
  const T* data_;
  index_t size_;
};

/// Moves numbers of D to the host, once the queue has made them; those of the CPU are there.
template <class T, Device D>
Buffer<T> to_host(Queue<D>& queue, Buffer<T, D> from) {
  if constexpr (D == Device::cpu) {
    return from;
  } else {
    Buffer<T> out(from.size());
    queue.wait();
    if (out.size() > 0) kernels::copy_to_host<D>(out.data(), from.data(), static_cast<std::size_t>(out.bytes()));
    return out;
  }
}

}  // namespace hack
