#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/dtype.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"
#include "svd/fit/placed_whitening.hpp"
#include "svd/tile/range.hpp"
#include "svd/choose/rank_policy.hpp"
#include "svd/tile/tile_grid.hpp"
#include "svd/fit/whitening.hpp"

namespace hack::svd {

/// How factors are fitted to the inputs of a matrix.
///
///     method          sweeps  refit
///     whitening       0       no      each tile by its own block of H; for a single tile column the optimum
///     whitening       0       yes     then the left factors of a row of tiles together, with the whole of H
///     error feedback  1 …     yes     before the refit every tile makes up for the errors of the others in its row
struct WeightingOptions {
  double damping = 0.01;  ///< of the mean of H's diagonal, added to it
  int sweeps = 1;         ///< of error feedback over the tile columns
  bool refit = true;
  /// The type that right factors will be rounded to, where they are stored as right factors: left factors are then
  /// solved for once more, with the rounded right factors. Inputs of trained models are huge in a few directions, in
  /// which a right factor off by 2⁻⁹ costs more than all that truncation leaves out.
  std::optional<DType> rounding;
};

/// Some rows of tiles of a matrix, with all their tile columns.
struct TileRows {
  std::string_view name;           ///< of the matrix, for errors
  Range range;                     ///< the numbers of the rows of tiles
  MatrixView<const float> values;  // (rows of the matrix in the range, n)
};

/// A tile as U diag(sigma) Vᵀ, U and V orthonormal; after a refit to rounded right factors U's columns have norm 1 but
/// are not orthogonal.
struct TruncatedTile {
  index_t rank = 0;     ///< k; 0 of tiles that keep their original values, too
  Buffer<float> u;      // (h, k)
  Buffer<float> sigma;  // (k) descending, or nearly, with right factors rounded
  Buffer<float> vt;     // (k, w)
};

/// Factorizes the tiles of a matrix so that an error E costs least in tr(E H Eᵀ), H = Σ x xᵀ over the matrix's inputs.
///
/// With S_j the Cholesky factor of H's damped diagonal block j, a tile is truncated by the SVD of its whitened target
/// T S_j: the truncation-aware whitening of SVD-LLM (Wang et al. 2025, arXiv 2403.07378), here block by block; a
/// diagonal S would be ASVD's scaling (Yuan et al. 2023, arXiv 2312.05821). T is the tile itself, or, in sweeps of
/// error feedback over the tile columns from left to right, a target that makes up for the errors E_il of the other
/// tiles,
///
///     T_ij = W_ij + (Σ_{l ≠ j} E_il H_lj) H_jj⁻¹.
///
/// The truncation of this T is the exact minimiser of the loss for one tile with the others fixed, so the sweeps are
/// block Gauss-Seidel steps, and a sweep after the first never raises the loss. In the first sweep, tiles that are
/// still to come have no error unless they are of rank 0. That makes it a relative of GPTQ's column sweep (Frantar et
/// al. 2023, arXiv 2210.17323): GPTQ rounds a column and spreads its error over all later columns; here a tile is
/// truncated, and each later tile makes up for the errors that it meets. At last the left factors are refitted.
///
/// Rows of tiles do not depend on each other: any rank may take any row, needs all of H and nothing of its peers, and
/// on CPUs the bits of a tile depend on its row, the choices in that row and H, not on other rows, ranks or threads. An
/// object never changes: one serves all matrices with the same inputs and the same width of tiles (gate and up).
template <Device D>
class WeightedFactorizer {
 public:
  /// `h` (n, n) is symmetric, the host's, and outlives this. Memory: 2 n · (width of a tile) numbers in double; on a
  /// GPU as many again, and n².
  WeightedFactorizer(Queue<D>& queue, MatrixView<const double> h, const TileGrid& grid,
                     const WeightingOptions& options);

  /// Returns the singular values of W_ij S_j, for choose_ranks: as far as H is block-diagonal, discarding a value costs
  /// its square. Descending, r = min(h, w) of each tile, tile after tile, on the host. An Error names matrix and tile
  /// where values are not finite.
  std::vector<float> spectra(Queue<D>& queue, const TileGrid& grid, const TileRows& rows) const;

  /// Returns the tiles of these rows; `choices` are the tiles' choices in the same order. A dense tile of full rank
  /// takes up the errors of its row like any other tile, as factors of full rank. Where the whole row is dense there
  /// are no errors: the tiles keep their original values and get no factors. Memory beside the result: values and
  /// factors of the rows in double, and a few tiles for each row of tiles; for the refit, per thread, the square of a
  /// row's rank sum in double. An Error names matrix and tile where values are not finite or an SVD does not converge.
  std::vector<TruncatedTile> factorize(Queue<D>& queue, const TileGrid& grid, const TileRows& rows,
                                       std::span<const TileChoice> choices) const;

  /// H in memory that D computes with.
  MatrixView<const double, D> h() const { return placed_.h(); }

 private:
  Queue<Device::cpu> host_;
  Whitening whitening_;
  PlacedWhitening<D> placed_;
  WeightingOptions options_;
};

}  // namespace hack::svd
