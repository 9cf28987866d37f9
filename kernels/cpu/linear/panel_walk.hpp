#pragma once

#include <algorithm>

#include "kernels/cpu/linear/gemm.hpp"
#include "kernels/cpu/memory/scratch.hpp"

namespace hack::kernels {

/// The micro-kernel (Goto & van de Geijn 2008): the small product whose sums stay in registers, of which large ones are
/// made, c (R, cols) = or += a b for R <= rows,
/// in one instruction set. Operands are rows of lanes of 32 bits, one or several numbers of k in each, with zeros up to
/// whole steps.
struct MicroKernel {
  /// a (R, lanes) with row_stride, b (lanes, cols) packed, c (R, cols) with leading dimension ldc.
  using Multiply = void (*)(const float* a, const float* b, index_t lanes, float* c, index_t ldc, bool add);

  index_t rows;
  index_t cols;
  index_t numbers;             ///< of k in a lane
  index_t step;                ///< lanes at once
  const Multiply* multiply;    ///< [R - 1]
  index_t unit = 16;           ///< numbers that passes over k are multiples of
  index_t depth = gemm_depth;  ///< lanes of the longest pass

  /// Lanes that k numbers take.
  index_t lanes(index_t k) const { return (k + step * numbers - 1) / (step * numbers) * step; }
};

constexpr index_t row_stride = gemm_depth + 16;  // of a; not a power of two: rows must not share a set of the cache
constexpr index_t max_tile_rows = 32;
constexpr index_t max_tile_cols = 128;

/// y (rows, cols <= gemm_panel) = or += x packed; x (rows, k) in numbers of a lane's type, packed holds tiles of (lanes
/// of k, cols of the tile).
template <class T>
void multiply_panel(const MicroKernel& tile, MatrixView<const T> x, const float* packed, MatrixView<float> y, bool add);

/// Working memory of a thread's walks.
class PanelScratch {
 public:
  /// Room for a panel: (gemm_panel / cols of the tile, lanes of a pass, cols of the tile).
  float* packed() { return packed_.get(gemm_panel * row_stride); }
  /// Room for numbers that are widened before they are packed.
  float* widened(index_t rows, index_t depth) { return widened_.get(rows * depth); }
  /// Sums of `rows` rows of a panel, close together: rows of y that are a large power of two apart share few sets of
  /// the cache, and each pass would find the sums of the last one gone.
  MatrixView<float> sums(index_t rows, index_t cols) {
    constexpr index_t ld = gemm_panel + 16;
    return {sums_.get(rows * ld), rows, cols, ld};
  }

 private:
  Scratch packed_;
  Scratch widened_;
  Scratch sums_;
};

/// y = or += sums.
void write_sums(MatrixView<const float> sums, MatrixView<float> y, Write write);

/// y = or += x b, walking over panels of y's columns and passes over k. pack(j, n, p, k, to) packs columns
/// [j, j + n) of numbers [p, p + k) of b, with zeros up to the last lane.
template <class T, class Pack>
void walk_panels(const MicroKernel& tile, MatrixView<const T> x, MatrixView<float> y, Write write,
                 PanelScratch& scratch, const Pack& pack) {
  const index_t depth = pass_depth(x.cols, tile.numbers * tile.depth, tile.unit);
  const bool is_whole = depth >= x.cols;  // one pass: straight to y
  float* packed = scratch.packed();
  for (index_t j = 0; j < y.cols; j += gemm_panel) {
    const index_t cols = std::min(gemm_panel, y.cols - j);
    const MatrixView<float> out = y.block(0, j, y.rows, cols);
    const MatrixView<float> sums = is_whole ? out : scratch.sums(y.rows, cols);
    for (index_t p = 0; p < x.cols; p += depth) {
      const index_t k = std::min(depth, x.cols - p);
      const index_t lanes = tile.lanes(k);
      for (index_t c = 0; c < cols; c += tile.cols) {
        pack(j + c, std::min(tile.cols, cols - c), p, k, packed + c * lanes);
      }
      multiply_panel(tile, x.block(0, p, x.rows, k), packed, sums, p > 0 || (is_whole && write == Write::add));
    }
    if (!is_whole) write_sums(sums, out, write);
  }
}

}  // namespace hack::kernels
