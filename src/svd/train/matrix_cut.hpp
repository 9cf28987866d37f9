#pragma once

#include <vector>

#include "svd/tile/range.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// A block of a matrix.
struct MatrixBlock {
  Range rows;
  Range cols;
};

/// How ranks share a matrix: each multiplies with one block of it. Blocks may overlap, and may be empty.
struct MatrixCut {
  std::vector<MatrixBlock> blocks;  // (ranks)
  int own = 0;                      ///< this rank

  const MatrixBlock& block() const { return blocks[static_cast<std::size_t>(own)]; }

  /// The ranks whose blocks meet a tile, ascending.
  std::vector<int> ranks_of(const Tile& tile) const {
    std::vector<int> ranks;
    for (int r = 0; r < static_cast<int>(blocks.size()); ++r) {
      const MatrixBlock& of = blocks[static_cast<std::size_t>(r)];
      const Range rows = intersect(of.rows, {tile.row, tile.row + tile.height});
      const Range cols = intersect(of.cols, {tile.col, tile.col + tile.width});
      if (rows.size() > 0 && cols.size() > 0) ranks.push_back(r);
    }
    return ranks;
  }
};

}  // namespace hack::svd
