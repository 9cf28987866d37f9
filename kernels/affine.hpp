#pragma once

#include <optional>

#include "kernels/factored_linear.hpp"

namespace hack::kernels {

/// What x is multiplied with in y = x Wᵀ + b: W by itself or as tiles, and a bias if there is one.
template <Device D>
struct AffineView {
  WeightView<D> dense;                      // (rows, cols); nothing where there are tiles
  std::optional<FactoredView<D>> factored;  // (rows, cols)
  const float* bias = nullptr;              // (rows) or null

  index_t rows() const { return factored ? factored->rows : dense.rows; }
  index_t cols() const { return factored ? factored->cols : dense.cols; }
};

/// y = x Wᵀ + b; x (tokens, cols), y (tokens, rows).
template <Device D>
void affine(Queue<D>& queue, MatrixView<const float, D> x, const AffineView<D>& w, MatrixView<float, D> y) {
  if (w.factored) {
    factored_linear(queue, x, *w.factored, y);
  } else {
    linear(queue, x, w.dense, y);
  }
  if (w.bias != nullptr) add_bias(queue, w.bias, y);
}

}  // namespace hack::kernels
