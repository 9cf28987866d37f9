#pragma once

#include "kernels/buffer.hpp"
#include "kernels/device_view.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"
#include "svd/fit/input_statistics.hpp"

namespace hack::svd {

/// The target that the factors of a matrix are fitted to where its inputs x̂ come from layers already compressed, so
/// that W' x̂ makes up for the errors of these layers. Σ ‖W x - W' x̂‖² is least for W' = Y H⁻¹, Y = Σ W x x̂ᵀ = W X (the
/// objective of AA-SVD, 2026, arXiv 2604.02119). The target follows the deviation of W' from W only in part:
///
///     T = W + share · (Y - W H) (H + d I)⁻¹,   d = damping · mean of H's diagonal
///
/// share 0: T = W; share 1: the damped least-squares solution, which also fits the noise of the calibration text.
template <Device D>
class PropagatedTarget {
 public:
  /// `statistics`, with X or Y, outlive this. Memory: n² numbers in double; on a GPU also H and X or Y.
  PropagatedTarget(Queue<D>& queue, const InputStatistics& statistics, double damping, double share);

  /// Writes rows first_row … of T, given the same rows of W; both (rows, n), contiguous, the host's. On the CPU the
  /// bits of a row depend on the block of 64 rows that it is in, and on nothing else.
  void apply(Queue<D>& queue, MatrixView<const float> w, index_t first_row, MatrixView<float> target) const;

 private:
  struct Step;  // some rows

  void correct(Queue<D>& queue, const Step& step) const;

  index_t n_;
  Cross kind_;
  double share_;
  DeviceView<double, D> h_;      // (n, n)
  DeviceView<double, D> cross_;  // (n, n) X or (m, n) Y
  Buffer<double, D> root_;       // (n, n) Cholesky factor of H + d I
};

}  // namespace hack::svd
