#pragma once

#include "kernels/matrix_view.hpp"

namespace hack::kernels {

/// Loops over the numbers of one row on the calling thread, in vectors.

/// The largest of n numbers; -infinity for n = 0.
float maximum(const float* x, index_t n);

/// x[i] = exp(scale * x[i] - shift), and their sum. Relative error of an exp at most 2e-7 (1 ulp and the rounding of
/// the argument's product aside); 0 below exp(-104).
float exp_and_sum(float* x, index_t n, float scale, float shift);

/// Σ x[i]².
float sum_of_squares(const float* x, index_t n);

/// gate[i] = silu(gate[i]) * up[i].
void silu_multiply(float* gate, const float* up, index_t n);

/// y[i] = x[i] * factor * weight[i]: the product with factor is rounded first, as transformers does.
void scale_and_weigh(const float* x, float factor, const float* weight, float* y, index_t n);

/// to(t, i) = from(t, i) * scale[i].
void scale_columns(MatrixView<const float> from, const float* scale, MatrixView<float> to);

/// y[i] = Σ_j weights[j] * rows[j * ld + i] over n rows; y (cols).
void weighted_sum(const float* weights, const float* rows, index_t ld, index_t n, float* y, index_t cols);

/// Widens n numbers of `type` to f32.
void widen(const void* from, DType type, float* to, index_t n);

/// Widens numbers [first, first + n) of a row of weights, with their scales, to f32.
void widen_row(const WeightView<>& w, index_t row, index_t first, index_t n, float* to);

/// Rounds n numbers to bf16 or f16, to nearest, ties to even.
void narrow(const float* from, bf16* to, index_t n);
void narrow(const float* from, f16* to, index_t n);

}  // namespace hack::kernels
