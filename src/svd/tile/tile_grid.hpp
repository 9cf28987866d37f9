#pragma once

#include <vector>

#include "kernels/dtype.hpp"

namespace hack::svd {

/// A tile's place in its grid and in its matrix.
struct Tile {
  index_t i = 0;       ///< tile row
  index_t j = 0;       ///< tile column
  index_t row = 0;     ///< first row in the matrix
  index_t col = 0;     ///< first column in the matrix
  index_t height = 0;  ///< h
  index_t width = 0;   ///< w

  /// r = min(h, w): no rank is higher.
  index_t full_rank() const { return height < width ? height : width; }
};

/// Cuts a matrix (rows, cols) into I × J tiles. Tiles at the lower and right edge are clipped, not padded:
///
///     rows 5, cols 7, tiles of 3 × 3:   3×3 3×3 3×1
///                                       2×3 2×3 2×1
///
/// Tiles are numbered row by row. One SVD of the whole matrix is the grid with one tile.
class TileGrid {
 public:
  /// Sizes larger than the matrix are cut to it. An Error if one of them is below 1.
  TileGrid(index_t rows, index_t cols, index_t tile_height, index_t tile_width);

  index_t rows() const { return rows_; }
  index_t cols() const { return cols_; }
  index_t tile_height() const { return tile_height_; }
  index_t tile_width() const { return tile_width_; }
  /// I
  index_t tile_rows() const { return tile_rows_; }
  /// J
  index_t tile_cols() const { return tile_cols_; }
  /// I * J
  index_t size() const { return tile_rows_ * tile_cols_; }
  /// Full rank of a tile that is not clipped, the highest in the grid.
  index_t max_rank() const { return tile_height_ < tile_width_ ? tile_height_ : tile_width_; }

  Tile tile(index_t i, index_t j) const;
  /// The tile with this number, i * J + j.
  Tile tile(index_t number) const { return tile(number / tile_cols_, number % tile_cols_); }

  std::vector<index_t> row_offsets() const;  // (I + 1) first row of each tile row, then rows()
  std::vector<index_t> col_offsets() const;  // (J + 1) first column of each tile column, then cols()

  bool operator==(const TileGrid&) const = default;

 private:
  index_t rows_;
  index_t cols_;
  index_t tile_height_;
  index_t tile_width_;
  index_t tile_rows_ = 0;
  index_t tile_cols_ = 0;
};

}  // namespace hack::svd
