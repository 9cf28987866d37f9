#pragma once

#include "kernels/linear.hpp"

namespace hack::kernels {

/// Up to this many tokens a matrix is applied by dot products of its rows, bound by the bytes of w.
constexpr index_t few_tokens = 8;

/// y = x wᵀ, or y += x wᵀ, on the calling thread, for few rows of x; x (m, k), w (n, k), y (m, n). Each row of w is
/// read once from memory and widened in registers. An element's bits depend on its row of x and of w alone.
void multiply_few(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write);

}  // namespace hack::kernels
