#pragma once

#include <span>

#include "kernels/buffer.hpp"
#include "kernels/matrix_view.hpp"

namespace hack::svd {

/// Fits the coefficients of pivoted tiles to pivots that have been rounded. The rows C P (h - k, w) of a tile and the
/// rounded pivots Q (k, w) given, with D = diag(weights),
///
///     C' = argmin ‖(C P - C' Q) D^½‖² + λ ‖C' - C‖² = C + C (P - Q) D Qᵀ (Q D Qᵀ + λ I)⁻¹,
///
/// λ the mean of diag((P - Q) D (P - Q)ᵀ): what is no larger than the rounding itself is left as it was, so that
/// dependent pivots do no harm. Of the part of P's rounding that reaches the other rows about w - k of w remain.
/// Bits depend on the tile alone. One object serves one thread.
class PivotRefit {
 public:
  /// Makes room for a tile (h, w) of rank k: with room for it, apply() does not throw.
  void reserve(index_t h, index_t w, index_t k);

  /// Replaces C (h - k, k) by C'. BLAS must be held to one thread.
  void apply(MatrixView<const float> pivots, MatrixView<const float> rounded, std::span<const double> weights,
             MatrixView<float> coefficients);

 private:
  Buffer<double> rounded_;   // Q (k, w)
  Buffer<double> weighted_;  // (P - Q) D (k, w)
  Buffer<double> gram_;      // (k, k)
  Buffer<double> cross_;     // (k, k)
  Buffer<double> c_;         // (h - k, k)
  Buffer<double> change_;    // (h - k, k)
};

}  // namespace hack::svd
