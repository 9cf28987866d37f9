#include "svd/tile/tile_grid.hpp"

#include <gtest/gtest.h>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

TEST(TileGrid, ClipsTilesAtTheEdges) {
  const TileGrid grid(5, 7, 3, 3);
  EXPECT_EQ(grid.tile_rows(), 2);
  EXPECT_EQ(grid.tile_cols(), 3);
  EXPECT_EQ(grid.size(), 6);
  const Tile corner = grid.tile(1, 2);
  EXPECT_EQ(corner.row, 3);
  EXPECT_EQ(corner.col, 6);
  EXPECT_EQ(corner.height, 2);
  EXPECT_EQ(corner.width, 1);
  EXPECT_EQ(corner.full_rank(), 1);
  EXPECT_EQ(grid.max_rank(), 3);
  EXPECT_EQ(grid.row_offsets(), (std::vector<index_t>{0, 3, 5}));
  EXPECT_EQ(grid.col_offsets(), (std::vector<index_t>{0, 3, 6, 7}));
}

TEST(TileGrid, CoversEveryElementOnceInRowOrder) {
  for (index_t rows : {1, 4, 9}) {
    for (index_t cols : {1, 6, 11}) {
      for (index_t height : {1, 3, 4, 20}) {
        for (index_t width : {1, 2, 11}) {
          const TileGrid grid(rows, cols, height, width);
          std::vector<int> covered(static_cast<std::size_t>(rows * cols));
          for (index_t t = 0; t < grid.size(); ++t) {
            const Tile tile = grid.tile(t);
            EXPECT_EQ(tile.i * grid.tile_cols() + tile.j, t);
            EXPECT_EQ(grid.row_offsets()[tile.i], tile.row);
            EXPECT_EQ(grid.col_offsets()[tile.j + 1], tile.col + tile.width);
            for (index_t i = 0; i < tile.height; ++i) {
              for (index_t j = 0; j < tile.width; ++j) ++covered[(tile.row + i) * cols + tile.col + j];
            }
          }
          EXPECT_EQ(covered, std::vector<int>(covered.size(), 1));
        }
      }
    }
  }
}

TEST(TileGrid, OfTheWholeMatrixIsOneTile) {
  const TileGrid grid(1536, 576, 1536, 576);
  EXPECT_EQ(grid.size(), 1);
  EXPECT_EQ(grid.tile(0).height, 1536);
  EXPECT_EQ(grid.max_rank(), 576);
  EXPECT_EQ(TileGrid(100, 60, 128, 128), TileGrid(100, 60, 100, 60));
}

TEST(TileGrid, RefusesWhatIsEmpty) {
  EXPECT_THROW(TileGrid(0, 4, 1, 1), Error);
  EXPECT_THROW(TileGrid(4, 4, 0, 1), Error);
  EXPECT_THROW(TileGrid(4, 4, 2, -3), Error);
}

}  // namespace
}  // namespace hack::svd
