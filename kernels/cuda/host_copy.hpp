#pragma once

#include "kernels/cuda/resources.hpp"

namespace hack::kernels::cuda {

/// A matrix of the GPU and its numbers on the host.
class HostCopy {
 public:
  HostCopy(index_t rows, index_t cols) : numbers_(rows * cols), rows_(rows), cols_(cols) {}
  MatrixView<float> view() { return {numbers_.data(), rows_, cols_}; }

  void take(Queue<Device::cuda>& queue, MatrixView<const float, Device::cuda> from) {
    for (index_t i = 0; i < rows_; ++i) download(queue, view().row(i), from.row(i), row_bytes());
  }
  void give(Queue<Device::cuda>& queue, MatrixView<float, Device::cuda> to) {
    for (index_t i = 0; i < rows_; ++i) upload(queue, to.row(i), view().row(i), row_bytes());
  }

 private:
  std::size_t row_bytes() const { return static_cast<std::size_t>(cols_) * sizeof(float); }

  Buffer<float> numbers_;
  index_t rows_, cols_;
};

}  // namespace hack::kernels::cuda
