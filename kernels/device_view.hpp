#pragma once

#include "kernels/buffer.hpp"

namespace hack {

/// Contiguous numbers of the host where D reads them: they themselves on the CPU, which then outlive this, else a copy.
template <class T, Device D>
class DeviceView {
 public:
  DeviceView(const T* host, index_t size) : data_(host) {
    if constexpr (D != Device::cpu) {
      copy_ = to_device<D>(host, size);
      data_ = copy_.data();
    }
  }

  const T* data() const { return data_; }

 private:
  Buffer<T, D> copy_;
  const T* data_;
};

/// Moves numbers of the host to D; those of the CPU are there.
template <Device D, class T>
Buffer<T, D> to_device(Buffer<T> from) {
  if constexpr (D == Device::cpu) {
    return from;
  } else {
    return to_device<D>(from.data(), from.size());
  }
}

}  // namespace hack
