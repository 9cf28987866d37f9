#pragma once

#include <span>

#include "kernels/factored_linear.hpp"

namespace hack::kernels {

/// What x is multiplied with in y = x Wᵀ + b: W by itself or as planes of tiles, and a bias if there is one.
template <Device D>
struct AffineView {
  WeightView<D> dense;                        // (rows, cols); nothing where there are tiles
  std::span<const FactoredView<D>> planes{};  // (rows, cols) each, whose sum W is; none where W is dense
  const float* bias = nullptr;                // (rows) or null

  bool is_factored() const { return !planes.empty(); }
  index_t rows() const { return is_factored() ? planes[0].rows : dense.rows; }
  index_t cols() const { return is_factored() ? planes[0].cols : dense.cols; }
};

/// y = x Wᵀ + b; x (tokens, cols), y (tokens, rows).
template <Device D>
void affine(Queue<D>& queue, MatrixView<const float, D> x, const AffineView<D>& w, MatrixView<float, D> y) {
  if (w.is_factored()) {
    factored_sum(queue, x, w.planes, y);
  } else {
    linear(queue, x, w.dense, y);
  }
  if (w.bias != nullptr) add_bias(queue, w.bias, y);
}

}  // namespace hack::kernels
