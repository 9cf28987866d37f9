#pragma once

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::svd {

/// Computes tr(X H Xᵀ) = Σ ‖X x‖² over the inputs x that H = Σ x xᵀ is made of; X (m, n), H (n, n) symmetric, undamped.
/// Sums over rows: those of parts of a matrix add up. In double, in an order that depends on m and n alone.
double weighted_energy(Queue<Device::cpu>& queue, MatrixView<const float> x, MatrixView<const double> h);

/// Computes what `approximation` costs in place of w, tr(E H Eᵀ) with E = w - approximation; as above.
double weighted_error(Queue<Device::cpu>& queue, MatrixView<const float> w, MatrixView<const float> approximation,
                      MatrixView<const double> h);

}  // namespace hack::svd
