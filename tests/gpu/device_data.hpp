#pragma once

#include <cstddef>
#include <vector>

#include "kernels/matrix_view.hpp"

namespace hack::tests {

/// A matrix of the device. Where the host plays it, between margins that are not numbers, and what is not given is not
/// a number either.
template <class T = float>
class DeviceMatrix {
 public:
  DeviceMatrix(index_t rows, index_t cols) : rows_(rows), cols_(cols), buffer_(rows * cols) {}
  DeviceMatrix(const std::vector<T>& values, index_t rows, index_t cols)
      : rows_(rows), cols_(cols), buffer_(to_device<Device::cuda>(values.data(), rows * cols)) {}

  MatrixView<T, Device::cuda> view() { return {buffer_.data(), rows_, cols_}; }
  MatrixView<const T, Device::cuda> in() const { return {buffer_.data(), rows_, cols_}; }
  const T* data() const { return buffer_.data(); }
  std::vector<T> host() const {
    std::vector<T> values(static_cast<std::size_t>(rows_ * cols_));
    if (!values.empty()) kernels::copy_to_host<Device::cuda>(values.data(), buffer_.data(), values.size() * sizeof(T));
    return values;
  }

 private:
  index_t rows_;
  index_t cols_;
  Buffer<T, Device::cuda> buffer_;
};

/// A weight matrix of the device with the same numbers as one of the host.
class DeviceWeights {
 public:
  explicit DeviceWeights(WeightView<> w)
      : bytes_(to_device<Device::cuda>(static_cast<const std::byte*>(w.data), w.rows * code_bytes(w.codec, w.cols))),
        scales_(to_device<Device::cuda>(w.scales, w.rows * scale_bytes(w.codec, w.cols))),
        view_{bytes_.data(), w.codec, w.rows, w.cols, w.ld, scales_.data()} {}
  WeightView<Device::cuda> view() const { return view_; }

 private:
  Buffer<std::byte, Device::cuda> bytes_, scales_;
  WeightView<Device::cuda> view_;
};

/// Where the host plays the GPU: in which order it runs threads from now on. A GPU has its own.
void set_thread_order(unsigned seed);

/// Runs the test's body with threads in several orders.
template <class Body>
void in_several_orders(const Body& body) {
  for (unsigned seed = 1; seed <= 2; ++seed) {
    set_thread_order(seed);
    body();
  }
}

}  // namespace hack::tests
