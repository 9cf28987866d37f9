#pragma once

#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/matrix_view.hpp"
#include "svd/quantize/quantized_rows.hpp"

namespace hack::svd {

/// Rounds columns one after the other, each making up for the errors of those before it (GPTQ: Frantar et al. 2023,
/// arXiv 2210.17323; the nearest plane of Babai 1986). With H + d I = L Lᵀ in the order of the columns, A = L
/// diag(L)⁻¹,
///
///     tr(E (H + d I) Eᵀ) = Σ_i L_ii² ‖(E A)_i‖²,     (E A)_i = e_i + Σ_{k > i} e_k A_ki,
///
/// so that from the last column to the first each takes the code nearest to w_i + Σ_{k > i} e_k A_ki. GPTQ's factor of
/// H⁻¹ says the same; this one needs no inverse.
class ColumnFeedback {
 public:
  /// H (n, n) symmetric, the host's, outlives this; d as damping_of(). Columns go in order of H's diagonal, the largest
  /// first: what the others cannot make up for any more is then cheap. An Error where H is not finite, or H + d I not
  /// positive definite even with a hundred times the damping. Memory: n² numbers.
  ColumnFeedback(MatrixView<const double> h, double damping);

  /// Chooses the codes of a chunk whose scales are given, and sets its errors. `space`: two times rows · n numbers.
  /// Does not throw; BLAS must be held to one thread.
  void sweep(const BlockGrid& grid, const std::vector<std::size_t>& block_of, const RowChunk& chunk,
             double* space) const;

 private:
  MatrixView<const double> factors() const;  // (n, n)

  std::vector<index_t> order_;  // (n) columns as A has them; the last one goes first
  Buffer<double> factors_;      // (n, n) A, lower triangular with ones
};

/// d = damping · mean of H's diagonal; 1 where that is 0: every input was zero.
double damping_of(MatrixView<const double> h, double damping);

}  // namespace hack::svd
