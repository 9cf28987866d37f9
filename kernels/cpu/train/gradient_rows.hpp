#pragma once

#include "kernels/matrix_view.hpp"

namespace hack::kernels {

/// Loops over the numbers of one row on the calling thread, in vectors.

/// out[i] = silu(gate[i]) * up[i].
void silu_product(const float* gate, const float* up, float* out, index_t n);

/// gate[i] = dout[i] * up[i] * silu'(gate[i]), up[i] = dout[i] * silu(gate[i]).
void silu_product_gradient(const float* dout, float* gate, float* up, index_t n);

/// y[i] = factor * (y[i] - target[i]); returns Σ (y[i] - target[i])².
float scaled_difference(const float* target, float factor, float* y, index_t n);

/// An AdamStep with its bias corrections folded in:
/// x[i] -= rate * mean[i] / (root_scale * √square[i] + epsilon).
struct AdamFactors {
  float rate;
  float root_scale;
  float epsilon;
  float mean_decay;
  float mean_gain;  ///< 1 - mean_decay
  float square_decay;
  float square_gain;  ///< 1 - square_decay
};
void adam_update(const AdamFactors& step, const float* gradient, float* mean, float* square, float* x, index_t n);

/// out = xᵀ; x (m, n), out (n, m). Rows of out should not lie a multiple of 4096 bytes apart: they would share cache
/// sets.
void transpose(MatrixView<const float> x, MatrixView<float> out);

}  // namespace hack::kernels
