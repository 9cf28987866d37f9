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
///     method     sweeps  refit
///     whiten     0       no      each tile by its own block of H; all there is for a single tile column
///     whiten     0       yes     the left factors of a row of tiles solved for together, with the whole of H
///     feedback   1 …     yes     before that, every tile makes up for the errors of the others in its row
struct WeightingOptions {
  double damping = 0.01;  ///< of the mean of H's diagonal, added to it
  int sweeps = 1;         ///< of feedback over the tile columns
  bool refit = true;
  /// What right factors will be rounded to, where they are stored as such: left factors are then solved for once more,
  /// with the rounded ones. Inputs of trained models are huge in a few directions, in which a right factor off by 2⁻⁹
  /// costs more than all that truncation leaves out.
  std::optional<DType> rounding;
};

/// Some rows of tiles of a matrix, with all their tile columns.
struct TileRows {
  std::string_view name;           ///< of the matrix, for errors
  Range range;                     ///< which rows of tiles
  MatrixView<const float> values;  // (rows of the matrix in them, n)
};

/// A tile as U diag(sigma) Vᵀ, U and V orthonormal; with right factors rounded, U's columns of norm 1 and no more.
struct TruncatedTile {
  index_t rank = 0;     ///< k; 0 of tiles that keep their original values, too
  Buffer<float> u;      // (h, k)
  Buffer<float> sigma;  // (k) descending, or nearly, with right factors rounded
  Buffer<float> vt;     // (k, w)
};

/// Factorizes the tiles of a matrix so that an error E costs least in tr(E H Eᵀ), H = Σ x xᵀ over the matrix's inputs.
///
/// With S_j the Cholesky factor of H's damped diagonal block j, a tile is truncated by the SVD of its whitened target
/// T S_j. T is the tile itself, or in sweeps of feedback, which go over the tile columns from left to right, a target
/// that makes up for the errors E_il of the other tiles,
///
///     T_ij = W_ij + (Σ_{l ≠ j} E_il H_lj) H_jj⁻¹:
///
/// the exact minimiser of the loss for one tile at a time (Gauss-Seidel), so a sweep after the first never raises it.
/// In the first, tiles not yet met have no error unless they are of rank 0. At last left factors are refitted.
///
/// Rows of tiles do not depend on each other: any rank may take any of them, needs H whole and nothing of its peers,
/// and on CPUs a tile's bits depend on its row, the choices there and H, not on the other rows, ranks or threads.
/// Objects do not change: one serves all matrices with the same inputs and tiles as wide (gate and up).
template <Device D>
class WeightedFactorizer {
 public:
  /// `h` (n, n) is symmetric, the host's, and outlives this. Memory: 2 n · width of a tile, in double, and on a GPU as
  /// much and n².
  WeightedFactorizer(Queue<D>& queue, MatrixView<const double> h, const TileGrid& grid,
                     const WeightingOptions& options);

  /// Returns the singular values of W_ij S_j: what discarding them costs, as far as H is block-diagonal. Descending,
  /// r = min(h, w) of each tile, tile after tile; for choose_ranks. An Error names matrix and tile where values are not
  /// finite. On the host.
  std::vector<float> spectra(Queue<D>& queue, const TileGrid& grid, const TileRows& rows) const;

  /// Returns the tiles of these rows, `choices` theirs in the same order. A dense tile of full rank takes up
  /// the errors of its row like any other, as factors of full rank; where the whole row is dense there are none, and
  /// nothing is returned in place of the original values. Memory beside the result: values and factors of these rows
  /// in double and a few tiles for each row of tiles; for the refit, per thread, the square of a row's rank sum in
  /// double. Errors as above.
  std::vector<TruncatedTile> factorize(Queue<D>& queue, const TileGrid& grid, const TileRows& rows,
                                       std::span<const TileChoice> choices) const;

  /// H where D computes with it.
  MatrixView<const double, D> h() const { return placed_.h(); }

 private:
  Queue<Device::cpu> host_;
  Whitening whitening_;
  PlacedWhitening<D> placed_;
  WeightingOptions options_;
};

}  // namespace hack::svd
