#pragma once

#include "kernels/linear.hpp"

namespace hack::kernels {

/// Whether multiply_few_int8() knows the codec on this CPU: one with scales, and instructions of AVX2 at least.
bool has_int8_dot(Codec codec);

/// y = x wᵀ, or y += x wᵀ, on the calling thread, for few rows of x; x (m, k), w (n, k), y (m, n). x is rounded to int8
/// first, d q with one d for each 32 numbers of a row, so that codes are multiplied with codes: eight numbers take the
/// instructions that one takes in f32. Beside the rounding, at most d/2 of each number, sums are f32. An element's bits
/// depend on its row of x and of w alone.
void multiply_few_int8(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write);

}  // namespace hack::kernels
