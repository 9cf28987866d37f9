#pragma once

#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels::cuda {

/// A matrix of the GPU and its numbers on the host.
class HostCopy {
 public:
  HostCopy(index_t rows, index_t cols) : numbers_(rows * cols), rows_(rows), cols_(cols) {}
  MatrixView<float> view() { return {numbers_.data(), rows_, cols_}; }

  void take(Queue<Device::cuda>& queue, MatrixView<const float, Device::cuda> from) {
    for_each_piece(from.ld, [&](index_t i, std::size_t bytes) { download(queue, view().row(i), from.row(i), bytes); });
  }
  void give(Queue<Device::cuda>& queue, MatrixView<float, Device::cuda> to) {
    for_each_piece(to.ld, [&](index_t i, std::size_t bytes) { upload(queue, to.row(i), view().row(i), bytes); });
  }

 private:
  /// Calls copy(first row, bytes) for each row, or once where the GPU's rows follow each other as the host's do.
  template <class Copy>
  void for_each_piece(index_t ld, const Copy& copy) const {
    const index_t rows = ld == cols_ ? rows_ : 1;
    if (rows_ * cols_ == 0) return;
    for (index_t i = 0; i < rows_; i += rows) copy(i, static_cast<std::size_t>(rows * cols_) * sizeof(float));
  }

  Buffer<float> numbers_;
  index_t rows_, cols_;
};

}  // namespace hack::kernels::cuda
