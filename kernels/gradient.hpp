#pragma once

#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

// What training of weights needs beside the forward operations. Names follow the loss: d… is its gradient in ….

// `rounded` says what the numbers of a large product may be rounded to before they are multiplied: f32 (not rounded) or
// bf16. They are rounded where the device multiplies the narrower numbers faster; sums are always f32.

/// y = x Wᵀ; x (tokens, in), w (out, in), y (tokens, out).
template <Device D>
void layer_output(Queue<D>& queue, MatrixView<const float, D> x, MatrixView<const float, D> w, MatrixView<float, D> y,
                  DType rounded = DType::f32);

/// dw = dyᵀ x, for y = x Wᵀ; dy (tokens, out), x (tokens, in), dw (out, in).
template <Device D>
void weight_gradient(Queue<D>& queue, MatrixView<const float, D> dy, MatrixView<const float, D> x,
                     MatrixView<float, D> dw, DType rounded = DType::f32);

/// dx = dy W, for y = x Wᵀ; dy (tokens, out), w (out, in), dx (tokens, in).
template <Device D>
void input_gradient(Queue<D>& queue, MatrixView<const float, D> dy, MatrixView<const float, D> w,
                    MatrixView<float, D> dx, DType rounded = DType::f32);

/// out = silu(gate) * up (SwiGLU, Shazeer 2020), all (tokens, n): swiglu() that leaves its inputs to swiglu_gradient().
template <Device D>
void swiglu_into(Queue<D>& queue, MatrixView<const float, D> gate, MatrixView<const float, D> up,
                 MatrixView<float, D> out);

/// Replaces gate by d gate = dout * up * silu'(gate) and up by d up = dout * silu(gate), for out = silu(gate) * up;
/// with s = 1 / (1 + exp(-a)), silu'(a) = s (1 + a (1 - s)). All (tokens, n).
template <Device D>
void swiglu_gradient(Queue<D>& queue, MatrixView<const float, D> dout, MatrixView<float, D> gate,
                     MatrixView<float, D> up);

/// The weighted error of outputs y against targets, and its gradient in y up to the factor: writes
/// squares[t] = weight_t Σ_j (y_tj - target_tj)², and replaces y_t by factor * weight_t * (y_t - target_t). Outputs and
/// targets (tokens, n), weights and squares (tokens). Without weights every weight is 1.
template <Device D>
void output_error(Queue<D>& queue, MatrixView<const float, D> target, const float* weights, float factor,
                  MatrixView<float, D> y, float* squares);

/// A tile W = L R of a matrix, whose first number is at (row, col) of the matrix.
template <Device D>
struct FactorTile {
  index_t row = 0;
  index_t col = 0;
  MatrixView<const float, D> left;      // (h, k)
  MatrixView<const float, D> right;     // (k, w)
  MatrixView<float, D> left_gradient;   // (h, k)
  MatrixView<float, D> right_gradient;  // (k, w)
};

/// Writes the products L R of tiles to their places in w; numbers of w outside the tiles are not touched.
template <Device D>
void multiply_factors(Queue<D>& queue, std::span<const FactorTile<D>> tiles, MatrixView<float, D> w);

/// Writes the gradients dL = dW Rᵀ and dR = Lᵀ dW of tiles of a matrix whose gradient is dw.
template <Device D>
void factor_gradients(Queue<D>& queue, MatrixView<const float, D> dw, std::span<const FactorTile<D>> tiles);

/// One step of Adam (Kingma and Ba 2015, arXiv 1412.6980).
struct AdamStep {
  double rate = 0;
  int number = 1;  ///< of the step, from 1
  double mean_decay = 0.9;
  double square_decay = 0.999;
  double epsilon = 1e-8;
};

/// With b₁, b₂ the decays and t the step's number, of n numbers each:
///
///     mean   = b₁ mean + (1 - b₁) gradient
///     square = b₂ square + (1 - b₂) gradient²
///     x     -= rate · mean / (1 - b₁ᵗ) / (√(square / (1 - b₂ᵗ)) + epsilon)
template <Device D>
void adam(Queue<D>& queue, const AdamStep& step, const float* gradient, float* mean, float* square, float* x,
          index_t n);

}  // namespace hack::kernels
