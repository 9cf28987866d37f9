#pragma once

#include <vector>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"
#include "svd/fit/weighted_factorizer.hpp"
#include "svd/tile/block_grid.hpp"
#include "svd/quantize/code_descent.hpp"
#include "svd/quantize/column_feedback.hpp"
#include "svd/quantize/quantized_rows.hpp"

namespace hack::svd {

/// How codes are fitted to the inputs of a matrix.
///
///     method            sweep  passes
///     nearest           no     0       codes nearest to the values, scales searched with H's diagonal
///     error feedback    yes    0 …     columns make up for each other's errors, then codes and scales one at a time
struct QuantizeOptions {
  double damping = 0.01;  ///< of the mean of H's diagonal, added to it
  bool sweep = true;
  int passes = 8;  ///< of CodeDescent, at most
};

/// Rounds rows of a matrix to the numbers that blocks can hold, so that an error E costs least in tr(E H Eᵀ), H = Σ x
/// xᵀ over the matrix's inputs:
///
///     scales of blocks, by search with H's diagonal      BlockGrid::find
///       └─ codes, column after column                    ColumnFeedback
///            └─ codes and scales one at a time           CodeDescent
///
/// Rows do not depend on each other: any rank may take any rows of tiles. The bits of a row depend on the values in its
/// row of tiles and on H, not on other rows, ranks or threads. An object never changes: one serves all matrices with
/// the same inputs and the same width of tiles.
class RowQuantizer {
 public:
  /// `h` (n, n) is symmetric, the host's, and outlives this. Blocks begin anew at each tile column. Errors as
  /// ColumnFeedback's. Memory: n² numbers in double.
  RowQuantizer(MatrixView<const double> h, const TileGrid& grid, const BlockGrid& numbers,
               const QuantizeOptions& options);

  const std::vector<Range>& blocks() const { return blocks_; }

  /// Returns the codes and scales of these rows. Memory beside the result: 352 n numbers in double a thread. An Error
  /// names matrix and tile where values are not finite.
  QuantizedRows quantize(Queue<Device::cpu>& queue, const TileGrid& grid, const TileRows& rows) const;

  /// Writes what codes stand for, in f32 as readers of an archive compute it; out (rows, n).
  void widen(const QuantizedRows& rows, MatrixView<float> out) const;

 private:
  struct Space;

  void find_scales(const RowChunk& chunk, Space& space) const;
  void round(const RowChunk& chunk) const;
  const BlockScale& scale_of(const BlockScale* scales, index_t r, index_t c) const;

  index_t n_;
  BlockGrid numbers_;
  QuantizeOptions options_;
  std::vector<Range> blocks_;
  std::vector<std::size_t> block_of_;  // (n)
  std::vector<double> weights_;        // (n)
  ColumnFeedback feedback_;
  CodeDescent descent_;
};

}  // namespace hack::svd
