#pragma once

#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// The statistics of the inputs of a matrix, prepared for the tile columns of a grid. An error E of the matrix costs
/// tr(E H Eᵀ), H = Σ x xᵀ. H is damped as in GPTQ (Frantar et al. 2023, arXiv 2210.17323), H + d I with d = damping ·
/// mean of its diagonal, because a few windows of text do not reach all directions; an H of zeros counts as I. For each
/// tile column j the damped block is factorized (the whitening of SVD-LLM, Wang et al. 2025, arXiv 2403.07378),
///
///     H_jj + d_j I = S_j S_jᵀ   (Cholesky),   d_j = d.
///
/// Where rounding or damping 0 leaves the block indefinite, d_j is d plus the magnitude of the block's lowest
/// eigenvalue and a little more.
class Whitening {
 public:
  /// `h` (n, n) is symmetric and outlives this; n = grid.cols(). Only the grid's columns matter: matrices with the same
  /// inputs may share one. An Error where h holds NaN or infinity or its diagonal is negative on average.
  Whitening(Queue<Device::cpu>& queue, MatrixView<const double> h, const TileGrid& grid, double damping);

  /// H as given, undamped.
  MatrixView<const double> h() const { return h_; }
  index_t tile_cols() const { return static_cast<index_t>(columns_.size()); }
  index_t first_col(index_t j) const { return column(j).first; }
  index_t width(index_t j) const { return column(j).width; }
  /// d_j
  double damping(index_t j) const { return column(j).damping; }
  /// S_j (w, w), lower triangular; the upper triangle is zero.
  MatrixView<const double> root(index_t j) const;
  /// (H_jj + d_j I)⁻¹ (w, w)
  MatrixView<const double> inverse(index_t j) const;

 private:
  struct Column {
    index_t first = 0;
    index_t width = 0;
    double damping = 0;
    Buffer<double> root;     // (w, w)
    Buffer<double> inverse;  // (w, w)
  };

  const Column& column(index_t j) const { return columns_[static_cast<std::size_t>(j)]; }
  bool factorize(Column& column, double mean) const;

  MatrixView<const double> h_;   // (n, n)
  std::vector<Column> columns_;  // (J)
};

/// Returns the diagonal of H + d I with Whitening's d: the cost of a squared error in each column by itself. No number
/// is negative.
std::vector<double> damped_diagonal(MatrixView<const double> h, double damping);  // (n)

}  // namespace hack::svd
