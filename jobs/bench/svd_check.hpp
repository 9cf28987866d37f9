#pragma once

#include "kernels/matrix_view.hpp"

namespace hack::jobs {

/// How far the SVD of a tile is off: the largest over tiles of each.
struct SvdErrors {
  double spectrum = 0;       ///< max |sigma - exact| / sigma_1, exact by LAPACK in double
  double orthogonality = 0;  ///< max |UᵀU - I|, |VᵀV - I|
  double excess = 0;         ///< (‖A - U diag(sigma) Vᵀ‖ - √(Σ_{i > k} exact²)) / ‖A‖
  double energy = 0;         ///< |‖A‖² - Σ_{i <= k} sigma² - ‖A - U diag(sigma) Vᵀ‖²| / ‖A‖²

  void take_larger(const SvdErrors& other);
  bool within_gates() const { return spectrum <= 3e-6 && orthogonality <= 1e-5 && excess <= 5e-6 && energy <= 1e-5; }
};

/// Measures the errors of one tile (h, w), in double; u (h, k), all of sigma, vt (k, w).
SvdErrors measure_errors(MatrixView<const float> tile, MatrixView<const float> u, const float* sigma,
                         MatrixView<const float> vt);

}  // namespace hack::jobs
