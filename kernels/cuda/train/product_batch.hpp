#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/cuda/train/batched_products.cuh"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels::cuda {

/// A matrix, or its transpose by exchanged strides.
struct Operand {
  const float* data;
  index_t row, col;  // from one row, one column to the next

  explicit Operand(MatrixView<const float, Device::cuda> x) : data(x.data), row(x.ld), col(1) {}
  Operand transposed() const {
    Operand other = *this;
    std::swap(other.row, other.col);
    return other;
  }
};

/// Small products that are made in one launch, each cut into parts for one block of threads.
class ProductBatch {
 public:
  /// Adds the product out = a diag(scale) b, sums of `depth` terms; without a scale, a b.
  void add(const Operand& a, const Operand& b, index_t depth, MatrixView<float, Device::cuda> out,
           const float* scale = nullptr) {
    constexpr index_t side = BatchedProducts::Product::outputs;
    static_assert(side == BatchedProducts::Product::tokens);
    for (index_t i = 0; i < out.rows; i += side) {
      for (index_t j = 0; j < out.cols; j += side) {
        const auto part = out.block(i, j, std::min(side, out.rows - i), std::min(side, out.cols - j));
        parts_.push_back({a.data + i * a.row, a.row, a.col, b.data + j * b.col, b.row, b.col, scale, array_of(part),
                          static_cast<int>(depth)});
      }
    }
  }

  void multiply(Queue<Device::cuda>& queue) const {
    if (parts_.empty()) return;
    auto* list = queue.resources().workspace<ProductPart>(Workspace::tiles, std::ssize(parts_));
    upload(queue, list, parts_.data(), parts_.size() * sizeof(ProductPart));
    launch(queue, BatchedProducts{list, std::ssize(parts_)});
  }

 private:
  std::vector<ProductPart> parts_;
};

}  // namespace hack::kernels::cuda
