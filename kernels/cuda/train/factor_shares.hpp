#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/cuda/train/factor_products.cuh"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels::cuda {

/// A matrix as it stands, or turned by its strides.
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

/// Products of tiles that are made in one launch, cut into what a block adds up.
class FactorShares {
 public:
  /// out = a diag(scale) b, `depth` numbers long; without a scale, a b.
  void add(const Operand& a, const Operand& b, index_t depth, MatrixView<float, Device::cuda> out,
           const float* scale = nullptr) {
    constexpr index_t side = FactorProducts::Product::outputs;
    static_assert(side == FactorProducts::Product::tokens);
    for (index_t i = 0; i < out.rows; i += side) {
      for (index_t j = 0; j < out.cols; j += side) {
        const auto part = out.block(i, j, std::min(side, out.rows - i), std::min(side, out.cols - j));
        shares_.push_back({a.data + i * a.row, a.row, a.col, b.data + j * b.col, b.row, b.col, scale, array_of(part),
                           static_cast<int>(depth)});
      }
    }
  }

  void multiply(Queue<Device::cuda>& queue) const {
    if (shares_.empty()) return;
    auto* list = queue.resources().workspace<FactorShare>(Workspace::tiles, std::ssize(shares_));
    upload(queue, list, shares_.data(), shares_.size() * sizeof(FactorShare));
    launch(queue, FactorProducts{list, std::ssize(shares_)});
  }

 private:
  std::vector<FactorShare> shares_;
};

}  // namespace hack::kernels::cuda
