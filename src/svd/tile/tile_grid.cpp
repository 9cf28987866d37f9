#include "svd/tile/tile_grid.hpp"

#include <algorithm>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

std::vector<index_t> offsets(index_t count, index_t step, index_t end) {
  std::vector<index_t> out(static_cast<std::size_t>(count) + 1);
  for (index_t i = 0; i <= count; ++i) out[static_cast<std::size_t>(i)] = std::min(i * step, end);
  return out;
}

}  // namespace

TileGrid::TileGrid(index_t rows, index_t cols, index_t tile_height, index_t tile_width)
    : rows_(rows), cols_(cols), tile_height_(std::min(tile_height, rows)), tile_width_(std::min(tile_width, cols)) {
  validate(rows >= 1 && cols >= 1, "cannot cut a matrix of {} x {} into tiles (it is empty)", rows, cols);
  validate(tile_height >= 1 && tile_width >= 1, "tiles of {} x {} are impossible; use sizes of at least 1", tile_height,
           tile_width);
  tile_rows_ = (rows_ - 1) / tile_height_ + 1;
  tile_cols_ = (cols_ - 1) / tile_width_ + 1;
}

Tile TileGrid::tile(index_t i, index_t j) const {
  HACK_EXPECT(i >= 0 && i < tile_rows_ && j >= 0 && j < tile_cols_);
  const index_t row = i * tile_height_;
  const index_t col = j * tile_width_;
  return {i, j, row, col, std::min(tile_height_, rows_ - row), std::min(tile_width_, cols_ - col)};
}

std::vector<index_t> TileGrid::row_offsets() const { return offsets(tile_rows_, tile_height_, rows_); }

std::vector<index_t> TileGrid::col_offsets() const { return offsets(tile_cols_, tile_width_, cols_); }

}  // namespace hack::svd
