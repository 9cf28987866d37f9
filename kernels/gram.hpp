#pragma once

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

/// sum += Σ_t a_t b_tᵀ, the outer products of two vectors of every token; a (tokens, m), b (tokens, n), sum (m, n).
/// The tokens of one call are summed in f32, the calls in double. Bits do not depend on the number of threads.
template <Device D>
void add_outer_products(Queue<D>& queue, MatrixView<const float, D> a, MatrixView<const float, D> b,
                        MatrixView<double, D> sum);

/// The same with a = b = x, lower triangle only; sum (n, n), what stands above its diagonal is overwritten.
template <Device D>
void add_gram(Queue<D>& queue, MatrixView<const float, D> x, MatrixView<double, D> sum);

}  // namespace hack::kernels
