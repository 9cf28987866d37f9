#pragma once

#include <algorithm>

#include "kernels/cpu/gemm.hpp"

namespace hack::kernels {

/// The small product whose sums stay in registers, of which large ones are made: c (R, cols) = or += a b for R <= rows,
/// in one instruction set. Operands are rows of lanes, one or several numbers of k in each.
struct TileProduct {
  /// a (R, lanes) with row_stride, b (lanes, cols) packed, c (R, cols) with leading dimension ldc.
  using Multiply = void (*)(const float* a, const float* b, index_t lanes, float* c, index_t ldc, bool add);

  index_t rows;
  index_t cols;
  index_t numbers;                                       ///< of k in a lane
  const Multiply* multiply;                              ///< [R - 1]
  void (*load)(const float* row, index_t k, float* to);  ///< k numbers of x as a row of a, zeros up to its last lane
};

constexpr index_t row_stride = gemm_depth + 16;  // of a; not a power of two: rows must not share a set of the cache
constexpr index_t max_tile_rows = 14;
constexpr index_t max_tile_cols = 128;

/// y (rows, cols <= gemm_panel) = or += x packed; x (rows, k), packed holds tiles of (lanes of k, cols of the tile).
void multiply_panel(const TileProduct& tile, MatrixView<const float> x, const float* packed, MatrixView<float> y,
                    bool add);

/// y = or += x b, walking over panels of y's columns and passes over k. pack(j, n, p, k, to) packs columns
/// [j, j + n) of numbers [p, p + k) of b; `packed` has room for gemm_panel * gemm_depth.
template <class Pack>
void walk_panels(const TileProduct& tile, MatrixView<const float> x, MatrixView<float> y, Write write, float* packed,
                 const Pack& pack) {
  const index_t depth = pass_depth(x.cols, tile.numbers * gemm_depth);
  for (index_t j = 0; j < y.cols; j += gemm_panel) {
    const index_t cols = std::min(gemm_panel, y.cols - j);
    for (index_t p = 0; p < x.cols; p += depth) {
      const index_t k = std::min(depth, x.cols - p);
      const index_t lanes = (k + tile.numbers - 1) / tile.numbers;
      for (index_t c = 0; c < cols; c += tile.cols) {
        pack(j + c, std::min(tile.cols, cols - c), p, k, packed + c * lanes);
      }
      multiply_panel(tile, x.block(0, p, x.rows, k), packed, y.block(0, j, y.rows, cols), write == Write::add || p > 0);
    }
  }
}

}  // namespace hack::kernels
