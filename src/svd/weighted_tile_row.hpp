#pragma once

#include <span>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/tile_svd.hpp"
#include "svd/rank_policy.hpp"
#include "svd/tile_grid.hpp"
#include "svd/whitening.hpp"

namespace hack::svd {

/// One row of tiles W_i1 … W_iJ on its way to activation-aware factors, W_ij ≈ L_ij R_ij. The rows of tiles of a matrix
/// have nothing to do with each other: what an error costs, tr(E H Eᵀ), is a sum over rows of E.
///
/// Tiles that keep their original values have E_ij = 0 and no factors; tiles of rank 0 have E_ij = W_ij.
///
/// A step of feedback at tile column j is form_target(j), a tile_svd of target() into target_svd(), truncate(j): the
/// SVD is left to the caller, who has batches. Nothing but the constructor throws.
class WeightedTileRow {
 public:
  /// Tile row i of `grid`; `w` (h, n) and `choices` (J) outlive this.
  WeightedTileRow(const Whitening& whitening, const TileGrid& grid, index_t i, MatrixView<const float> w,
                  std::span<const TileChoice> choices);

  index_t i() const { return i_; }
  index_t height() const { return w_.rows; }
  /// k of a tile that has factors, else 0.
  index_t rank(index_t j) const { return parts_[static_cast<std::size_t>(j)].rank; }
  /// Σ_j k_ij
  index_t rank_sum() const;

  /// Forms the whitened target A = T S_j of tile j, where the errors of the other tiles of the row are fed back,
  ///
  ///     T = W_ij + (Σ_{l ≠ j} E_il H_lj) (H_jj + d_j I)⁻¹,
  ///
  /// or are not, T = W_ij. ‖(T - W') S_j‖² differs from the row's loss by what does not depend on W'.
  void form_target(index_t j, bool with_feedback);
  MatrixView<const float> target() const;      // (h, w) A, scaled by a power of two
  kernels::TileSvd<Device::cpu> target_svd();  // with the k vectors that the tile keeps

  /// Truncates the target by its SVD: L = U_k, R = U_kᵀ T; and sets E_ij = W_ij - L R. Of all W' of rank k this one has
  /// the lowest loss.
  void truncate(index_t j);

  /// Makes the rows of every R orthonormal and moves what they lose into L. False where LAPACK failed.
  bool orthonormalize();

  /// Takes other factors of tile j: L = U diag(sigma), u (h, k), and R = vt (k, w).
  void assign(index_t j, MatrixView<const float> u, const float* sigma, MatrixView<const float> vt);

  MatrixView<const double> error() const { return {error_.data(), w_.rows, w_.cols}; }  // (h, n)
  MatrixView<double> left(index_t j);                                                   // (h, k)
  MatrixView<double> right(index_t j);                                                  // (k, w)

 private:
  struct Part {
    index_t rank = 0;
    Buffer<double> left;   // (h, k)
    Buffer<double> right;  // (k, w)
  };

  MatrixView<double> error_of(index_t j);
  void measure_error(index_t j);  // E_ij = W_ij - L R

  const Whitening& whitening_;
  index_t i_;
  MatrixView<const float> w_;  // (h, n)
  index_t at_ = 0;             // tile column of the target
  index_t error_end_ = 0;      // E is zero from this column on
  std::vector<Part> parts_;    // (J)
  Buffer<double> error_;       // (h, n) E
  Buffer<double> target_;      // (h, w) T
  Buffer<double> product_;     // (h, w) Σ E_il H_lj, then T S_j
  Buffer<float> whitened_;     // (h, w) T S_j, scaled
  Buffer<float> u_;            // (h, largest k)
  Buffer<float> sigma_;        // (r)
  Buffer<float> vt_;           // (largest k, w)
  Buffer<double> triangle_;    // (k, k) and (k), working memory of the QR for the largest k
};

}  // namespace hack::svd
