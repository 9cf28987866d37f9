#pragma once

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

enum class Write { replace, add };

/// y = x Wᵀ, or y += x Wᵀ with Write::add; x (tokens, in), w (out, in), y (tokens, out).
/// Few tokens run as matrix-vector products (GEMV) bound by the bytes of w, many as matrix products (GEMM) bound by
/// flops. Weights of any codec are widened on the way; sums are f32. An element's bits do not depend on the number of
/// threads.
template <Device D>
void linear(Queue<D>& queue, MatrixView<const float, D> x, WeightView<D> w, MatrixView<float, D> y,
            Write write = Write::replace);

/// y += bias in every row; y (tokens, n), bias (n).
template <Device D>
void add_bias(Queue<D>& queue, const float* bias, MatrixView<float, D> y);

}  // namespace hack::kernels
