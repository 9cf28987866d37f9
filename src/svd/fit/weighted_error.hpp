#pragma once

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::svd {

/// Computes tr(X H Xᵀ) = Σ ‖X x‖² over the inputs x of H = Σ x xᵀ; X (m, n) contiguous on the host, H (n, n) on D,
/// symmetric, undamped. The result is a sum over rows of X, so that the results of parts of a matrix add up. In double,
/// on the CPU in an order that depends on m and n alone.
template <Device D>
double weighted_energy(Queue<D>& queue, MatrixView<const float> x, MatrixView<const double, D> h);

/// Computes the cost of `approximation` in place of w, tr(E H Eᵀ) with E = w - approximation; both (m, n) contiguous on
/// the host.
template <Device D>
double weighted_error(Queue<D>& queue, MatrixView<const float> w, MatrixView<const float> approximation,
                      MatrixView<const double, D> h);

}  // namespace hack::svd
