#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/factored_linear.hpp"
#include "svd/archive/factor_source.hpp"
#include "svd/tile/range.hpp"

namespace hack::svd {

/// The rows × cols block of a compressed matrix that one rank multiplies with, tiles of any kind, on device D.
///
/// The block may cut through tiles: columns of a tile need only these columns of its Vᵀ or skeleton rows; rows need
/// only these rows of its U or coefficients, but of an interpolative tile all skeleton rows, those above and below the
/// block too. That is how tensor-parallel inference takes its share of a matrix whatever the tile size, whole-matrix
/// SVDs included.
template <Device D>
class FactoredMatrix {
 public:
  /// Reads the block from the source and holds it in `type`. Reads only tiles that meet the block, one tile row at a
  /// time; they are held as stored until all are there.
  FactoredMatrix(const FactorSource& source, const std::string& name, Range rows, Range cols, DType type);

  index_t rows() const { return row_offsets_.back(); }
  index_t cols() const { return col_offsets_.back(); }
  /// Memory held: numbers, singular values and marks.
  index_t bytes() const { return u_.bytes() + v_.bytes() + scale_.bytes() + marks_.bytes(); }

  /// What the block is the sum of. Valid as long as this matrix lives and is not moved.
  std::span<const kernels::FactoredView<D>> planes() const { return {&view_, 1}; }

 private:
  using TileRow = std::vector<StoredTile>;

  /// Which tiles meet the block.
  void clip(const TileGrid& grid);
  /// Where everything goes; returns the marks. (The numbers of tile rows and columns are those of the matrix.)
  std::vector<std::uint8_t> lay_out(const TileGrid& grid, const std::vector<TileRow>& tiles);
  void lay_out_row(const TileGrid& grid, const TileRow& tiles, index_t i, std::vector<std::uint8_t>& marks);

  DType type_;
  Range rows_;  // of the matrix
  Range cols_;
  Range tile_rows_;                         // tile rows of the matrix that meet the block
  Range tile_cols_;                         // tile columns likewise
  std::vector<index_t> row_offsets_;        // (I + 1)
  std::vector<index_t> col_offsets_;        // (J + 1)
  std::vector<index_t> block_offsets_;      // (I + 1)
  std::vector<index_t> stack_sizes_;        // (I)
  std::vector<kernels::TileLayout> tiles_;  // (I * J)
  std::vector<index_t> u_offsets_;          // (I + 1)
  std::vector<index_t> v_offsets_;          // (J + 1)
  index_t scales_ = 0;                      // singular values
  Buffer<std::byte, D> u_;                  // tile row i: stack (h_i, R_i), then coefficients
  Buffer<std::byte, D> v_;                  // tile column j: (K_j, w_j)
  Buffer<float, D> scale_;                  // (scales_)
  Buffer<std::uint8_t, D> marks_;
  std::unique_ptr<kernels::FactoredPlan<D>> plan_;
  kernels::FactoredView<D> view_;
};

}  // namespace hack::svd
