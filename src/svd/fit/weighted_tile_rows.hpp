#pragma once

#include <span>
#include <vector>

#include "kernels/batched_algebra.hpp"
#include "kernels/buffer.hpp"
#include "kernels/device_view.hpp"
#include "kernels/tile_svd.hpp"
#include "svd/fit/placed_whitening.hpp"
#include "svd/choose/rank_policy.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// Rows of tiles of a matrix while their activation-aware factors are found on D, W_ij ≈ L_ij R_ij. Rows of tiles are
/// independent: the cost of an error, tr(E H Eᵀ), is a sum over rows of E. So every step takes all rows at once, in
/// batches.
///
/// Invariant: E_ij = W_ij - L_ij R_ij after every step. Tiles that keep their original values have E_ij = 0 and no
/// factors; tiles of rank 0 have E_ij = W_ij.
template <Device D>
class WeightedTileRows {
 public:
  using Wide = MatrixView<double, D>;

  /// Tile rows first … of `grid`; `values` (m, n) contiguous on the host and `choices` (rows · J) outlive this, as do
  /// the queue and the whitening.
  WeightedTileRows(Queue<D>& queue, const PlacedWhitening<D>& whitening, const TileGrid& grid, index_t first,
                   MatrixView<const float> values, std::span<const TileChoice> choices);

  /// The number of rows of tiles.
  index_t count() const { return static_cast<index_t>(rows_.size()); }
  const PlacedWhitening<D>& whitening() const { return whitening_; }
  index_t height(index_t r) const { return row(r).height; }
  /// k of a tile that has factors, else 0.
  index_t rank(index_t r, index_t j) const { return part(r, j).rank; }
  /// Σ_j k_rj
  index_t rank_sum(index_t r) const;

  /// Replaces the factors of all tiles in column j by the factors of lowest loss while the other columns stay:
  /// truncates the whitened target A = T S_j, with error feedback from the other tiles of the row,
  ///
  ///     T = W_ij + (Σ_{l ≠ j} E_il H_lj) (H_jj + d_j I)⁻¹,
  ///
  /// or without, T = W_ij; then L = U_k, R = U_kᵀ T and E_ij = W_ij - L R. ‖(T - W') S_j‖² differs from the row's loss
  /// by a number that does not depend on W'. Returns the outcome of the SVD of each row's tile; where one failed,
  /// nothing is replaced.
  std::vector<kernels::SvdStatus> step(index_t j, bool with_error_feedback);

  /// Makes the rows of every R orthonormal, and changes L so that L R stays. False where LAPACK failed.
  bool orthonormalize();

  /// Replaces all factors by `left` and `right`, tile after tile, on the host, and measures the errors.
  void assign(const Buffer<double>& left, const Buffer<double>& right);

  Wide error(index_t r) { return {error_.data() + row(r).first * n_, row(r).height, n_}; }             // (h, n)
  Wide left(index_t r, index_t j) { return {left_.data() + part(r, j).left, height(r), rank(r, j)}; }  // (h, k)
  Wide right(index_t r, index_t j) {                                                                   // (k, w)
    return {right_.data() + part(r, j).right, rank(r, j), whitening_.width(j)};
  }
  /// The factors of all tiles, one after another.
  const Buffer<double, D>& left() const { return left_; }
  const Buffer<double, D>& right() const { return right_; }

 private:
  struct Row {
    index_t first;
    index_t height;
    index_t error_end = 0;  ///< E is zero from this column on
  };
  struct Part {
    index_t rank = 0;
    index_t left = 0;  ///< where its numbers begin
    index_t right = 0;
  };
  using Products = std::vector<kernels::Product<D>>;
  template <class From, class To>
  using Blocks = std::vector<kernels::Block<From, To, D>>;

  const Row& row(index_t r) const { return rows_[static_cast<std::size_t>(r)]; }
  const Part& part(index_t r, index_t j) const {
    return parts_[static_cast<std::size_t>(r * whitening_.tile_cols() + j)];
  }
  void place(index_t r, std::span<const TileChoice> choices);
  std::vector<index_t> active(index_t j) const;
  void multiply(double alpha, kernels::Transpose op_a, double beta, const Products& products);
  void form_targets(index_t j, bool with_error_feedback, const std::vector<index_t>& active);
  void truncate(index_t j, const std::vector<index_t>& active);
  void measure_errors(index_t j, const std::vector<index_t>& active);
  kernels::TileSvd<D> svd_of(index_t r, index_t j);

  MatrixView<const float, D> values_of(index_t r, index_t j) const;
  Wide error_of(index_t r, index_t j) {
    return error(r).block(0, whitening_.first_col(j), height(r), whitening_.width(j));
  }
  template <class T>
  MatrixView<T, D> tile_of(Buffer<T, D>& numbers, index_t r, index_t j) {
    return {numbers.data() + row(r).first * tile_width_, height(r), whitening_.width(j)};
  }

  Queue<D>& queue_;
  const PlacedWhitening<D>& whitening_;
  index_t n_;
  index_t tile_width_;
  index_t largest_ = 0;          // rank
  DeviceView<float, D> values_;  // (m, n)
  std::vector<Row> rows_;
  std::vector<Part> parts_;    // (rows, J)
  Buffer<double, D> left_;     // Σ h k
  Buffer<double, D> right_;    // Σ k w
  Buffer<double, D> error_;    // (m, n) E
  Buffer<double, D> target_;   // (rows) × (h, w) T
  Buffer<double, D> product_;  // (rows) × (h, w) Σ E_il H_lj, then T S_j
  Buffer<float, D> whitened_;  // (rows) × (h, w) T S_j, scaled
  Buffer<float, D> u_;         // (rows) × (h, largest k)
  Buffer<float, D> sigma_;     // (rows, width of a tile)
  Buffer<float, D> vt_;        // (rows) × (largest k, w)
};

}  // namespace hack::svd
