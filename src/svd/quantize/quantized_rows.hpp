#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/matrix_view.hpp"
#include "svd/tile/block_grid.hpp"
#include "svd/tile/range.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// The blocks of a row: each tile's columns in blocks of `length`, the last one of a tile shorter where its width asks
/// for it.
inline std::vector<Range> blocks_of_row(const TileGrid& grid, index_t length) {
  std::vector<Range> blocks;
  for (index_t j = 0; j < grid.tile_cols(); ++j) {
    const Tile tile = grid.tile(0, j);
    const index_t end = tile.col + tile.width;
    for (index_t c = tile.col; c < end; c += length) blocks.push_back({c, std::min(c + length, end)});
  }
  return blocks;
}

/// Some rows of a matrix as codes.
struct QuantizedRows {
  std::vector<std::uint8_t> codes;  // (rows, n)
  std::vector<BlockScale> scales;   // (rows, blocks of a row)
};

/// Some rows while they become codes, in somebody else's memory.
struct RowChunk {
  MatrixView<const float> values;  // (rows, n)
  std::uint8_t* codes = nullptr;   // (rows, n)
  BlockScale* scales = nullptr;    // (rows, blocks of a row)
  MatrixView<double> errors;       // (rows, n) values less what their codes stand for
};

}  // namespace hack::svd
