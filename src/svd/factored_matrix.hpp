#pragma once

#include <string>
#include <vector>

#include "kernels/factored_linear.hpp"
#include "svd/factor_archive.hpp"
#include "svd/range.hpp"

namespace hack::svd {

/// The rows × cols block of a compressed matrix that one rank multiplies with, as stacked factors on device D.
///
/// The block may cut through tiles: rows of a tile need only these rows of its U, columns only these columns of its Vᵀ.
/// That is how tensor-parallel inference takes its share of a matrix whatever the tile size, whole-matrix SVDs
/// included.
template <Device D>
class FactoredMatrix {
 public:
  /// Reads the block from the archive and holds it in `type`. Reads only tiles that meet the block, one tile row at a
  /// time.
  FactoredMatrix(const FactorArchive& archive, const std::string& name, Range rows, Range cols, DType type);

  index_t rows() const { return row_offsets_.back(); }
  index_t cols() const { return col_offsets_.back(); }
  /// Memory held: factors and singular values.
  index_t bytes() const { return u_.bytes() + v_.bytes() + scale_.bytes(); }

  /// Valid as long as this matrix lives.
  kernels::FactoredView<D> view() const;

 private:
  void lay_out(const MatrixEntry& entry, Range rows, Range cols);

  DType type_;
  Range tile_rows_;                       // tile rows of the whole matrix that meet the block
  Range tile_cols_;                       // tile columns likewise
  std::vector<index_t> row_offsets_;      // (I + 1)
  std::vector<index_t> col_offsets_;      // (J + 1)
  std::vector<index_t> block_offsets_;    // (I * J + 1)
  std::vector<kernels::TileKind> kinds_;  // (I * J)
  std::vector<index_t> u_offsets_;        // (I + 1)
  std::vector<index_t> v_offsets_;        // (J + 1)
  Buffer<std::byte, D> u_;                // tile row i: (h_i, R_i)
  Buffer<std::byte, D> v_;                // tile column j: (K_j, w_j)
  Buffer<float, D> scale_;                // (rank space)
};

}  // namespace hack::svd
