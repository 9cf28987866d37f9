#pragma once

#include <cstdint>
#include <vector>

#include "kernels/buffer.hpp"
#include "svd/tile/range.hpp"
#include "svd/fit/weighted_tile_rows.hpp"

namespace hack::svd {

/// Solves for the left factors of a whole row of tiles at once while the right factors stay: a linear least-squares
/// problem, one half of an alternating minimization. With P (K, n) the right factors of the row, block-diagonal, and K
/// the sum of its ranks, the loss tr(E H Eᵀ) is least for
///
///     [L_1 … L_J] = W H Pᵀ (P H Pᵀ)⁻¹,  here computed as a correction  L += E H Pᵀ (P H Pᵀ + c I)⁻¹,
///
/// with H damped. c = 1e-9 of the mean of the diagonal keeps the system solvable; whatever c is, the loss never grows.
/// Tiles with original values take no part: their E is zero and stays zero.
template <Device D>
class Refit {
 public:
  /// Takes working memory for some rows at a time, as many as there are threads or, on a GPU, as fit in 2 GiB; each row
  /// takes K² + (largest k + h) (n + K) numbers at most. Both arguments outlive this.
  Refit(Queue<D>& queue, WeightedTileRows<D>& rows);

  /// Changes the left factors of all rows, whose right factors are orthonormal; error() of the rows is not brought up
  /// to date. Returns of each row whether its system could be solved; an unsolved row (H far from positive
  /// semidefinite) is not changed.
  std::vector<std::uint8_t> apply();

 private:
  using Wide = MatrixView<double, D>;

  std::vector<std::uint8_t> solve(const std::vector<index_t>& some, double relative_damping);
  void form_column(const std::vector<index_t>& some, index_t j);
  void correct(const std::vector<index_t>& some, const std::vector<std::uint8_t>& is_solved);

  index_t tile_cols() const { return rows_.whitening().tile_cols(); }
  index_t rank_before(index_t r, index_t j) const;
  Wide weighted(std::size_t place, index_t k);    // (k, n)
  Wide gram(std::size_t place, index_t r);        // (K, K)
  Wide correction(std::size_t place, index_t r);  // (h, K)

  Queue<D>& queue_;
  WeightedTileRows<D>& rows_;
  index_t height_ = 0, rank_sum_ = 0, max_rank_ = 0;  // of any row
  index_t at_once_ = 1;                               // rows
  Buffer<double, D> weighted_;                        // (rows) × (k, n) R_j H_j of one tile
  Buffer<double, D> gram_;        // (rows) × (K, K) P H Pᵀ, lower triangle; then its Cholesky factor
  Buffer<double, D> correction_;  // (rows) × (h, K) E H Pᵀ, then the correction
};

}  // namespace hack::svd
