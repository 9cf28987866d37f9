#pragma once

#include "kernels/buffer.hpp"
#include "svd/weighted_tile_row.hpp"

namespace hack::svd {

/// Solves for the left factors of a whole row of tiles at once, the right ones as they are. With P (K, n) the right
/// factors of the row, block-diagonal, and K the sum of its ranks, the loss tr(E H Eᵀ) is least for
///
///     [L_1 … L_J] = W H Pᵀ (P H Pᵀ)⁻¹,  here computed as a correction  L += E H Pᵀ (P H Pᵀ + c I)⁻¹,
///
/// H damped; c = 1e-9 of the mean of the diagonal keeps the system solvable, and whatever c is, the loss never grows.
/// Tiles with original values are no part of it: their E is zero and stays so.
class Refit {
 public:
  /// Working memory for rows of up to `height` rows, ranks that sum up to `rank_sum` and tiles of rank up to
  /// `max_rank`: rank_sum² + (max_rank + height) (n + rank_sum) numbers at most. One object per thread.
  Refit(const Whitening& whitening, index_t height, index_t rank_sum, index_t max_rank);

  /// Changes the left factors of a row whose right factors are orthonormal; its error() is not brought up to date.
  /// False, and nothing changed, where the system cannot be solved (H far from positive semidefinite).
  bool apply(WeightedTileRow& row);

 private:
  void form_system(WeightedTileRow& row);

  const Whitening& whitening_;
  Buffer<double> weighted_;    // (k, n) R_j H_j: of one tile
  Buffer<double> gram_;        // (K, K) P H Pᵀ, lower triangle; then its Cholesky factor
  Buffer<double> correction_;  // (h, K) E H Pᵀ, then the correction
};

}  // namespace hack::svd
