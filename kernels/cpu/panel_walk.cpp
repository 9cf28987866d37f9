#include "kernels/cpu/panel_walk.hpp"

namespace hack::kernels {
namespace {

/// Asks for every `step`th row of [first, end), from first + part on: a part while each of a tile's products runs.
void prefetch_rows(MatrixView<const float> x, index_t first, index_t end, index_t part, index_t step) {
  for (index_t i = first + part; i < std::min(x.rows, end); i += step) {
    for (index_t p = 0; p < x.cols; p += 16) __builtin_prefetch(x.row(i) + p);
  }
}

}  // namespace

void multiply_panel(const TileProduct& tile, MatrixView<const float> x, const float* packed, MatrixView<float> y,
                    bool add) {
  alignas(64) float left[max_tile_rows * row_stride];
  alignas(64) float edge[max_tile_rows * max_tile_cols];
  const index_t lanes = (x.cols + tile.numbers - 1) / tile.numbers;
  for (index_t i = 0; i < x.rows; i += tile.rows) {
    const index_t rows = std::min(tile.rows, x.rows - i);
    for (index_t r = 0; r < rows; ++r) tile.load(x.row(i + r), x.cols, left + r * row_stride);
    for (index_t j = 0; j < y.cols; j += tile.cols) {
      const index_t cols = std::min(tile.cols, y.cols - j);
      const float* right = packed + j * lanes;
      prefetch_rows(x, i + tile.rows, i + 2 * tile.rows, j / tile.cols, gemm_panel / tile.cols);
      if (cols == tile.cols) {
        tile.multiply[rows - 1](left, right, lanes, &y(i, j), y.ld, add);
        continue;
      }
      tile.multiply[rows - 1](left, right, lanes, edge, tile.cols, false);
      for (index_t r = 0; r < rows; ++r) {
        for (index_t c = 0; c < cols; ++c) {
          const float sum = edge[r * tile.cols + c];
          y(i + r, j + c) = add ? y(i + r, j + c) + sum : sum;
        }
      }
    }
  }
}

}  // namespace hack::kernels
