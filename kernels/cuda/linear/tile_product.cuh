#pragma once

#include "kernels/cuda/linear/gated.cuh"
#include "kernels/cuda/linear/run_rows.cuh"

namespace hack::kernels::cuda {

/// y = x Wᵀ, or y += x Wᵀ, of W in tiles; or, with two matrices that have the same tile rows, silu(gate(x)) * up(x). A
/// block a run; the one that finishes last of a tile row adds up what the runs have left, in their order.
template <class W, int T, bool Aligned>
struct TileProduct {
  static constexpr const char* name = "TileProduct";
  using Rows = RunRows<W, T, Aligned>;
  static constexpr int max_threads = Rows::threads;
  static constexpr int least_blocks = T > 1 ? 1 : Aligned&& per_load<W> > 4 ? 3 : 2;
  TileSide<W> first;   // gate
  TileSide<W> second;  // up; without runs: there is one matrix
  Array<const float> x;
  Array<float> y;
  bool adds = false;  // of one matrix

  Geometry geometry() const { return {first.runs.count + second.runs.count, max_threads, Rows::shared_words}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const bool is_first = exec.block() < first.runs.count;
    const TileSide<W>& side = is_first ? first : second;
    const TileRun run = side.runs.runs[is_first ? exec.block() : exec.block() - first.runs.count];
    Rows::prepare(exec, side, run);
    exec.sync();
    Rows::project(exec, side, run, x);
    exec.sync();
    Rows::expand(exec, side, run, x.rows, side.sums + run.number * x.rows * y.cols, y.cols);
    if (is_last(exec, run.tile_row)) add_up(exec, run);
  }

 private:
  /// Whether all other blocks of the tile row have written their sums.
  template <class Exec>
  HACK_BODY bool is_last(Exec& exec, int tile_row) const {
    const auto last = exec.template shared<int>(Rows::last_at);
    exec.sync();
    if (exec.thread() == 0) {
      const int others = second.runs.count > 0 ? second.runs.counts[tile_row] : 0;
      const auto all = static_cast<std::uint32_t>(first.runs.counts[tile_row] + others);
      last[0] = exec.take_ticket(first.runs.tickets + tile_row, all) == all - 1 ? 1 : 0;
    }
    exec.sync();
    return last[0] != 0;
  }

  template <class Exec>
  HACK_BODY void add_up(Exec& exec, const TileRun& run) const {
    for (int i = exec.thread(); i < run.rows * static_cast<int>(x.rows); i += max_threads) {
      const index_t t = i / run.rows, row = run.y + i % run.rows;
      const float sum = sum_of(exec, first, run.tile_row, t, row);
      float& to = y.row(t)[row];
      if (second.runs.count > 0) {
        to = gated(sum, first.bias, sum_of(exec, second, run.tile_row, t, row), second.bias, row);
      } else {
        to = adds ? to + sum : sum;
      }
    }
  }

  template <class Exec>
  HACK_BODY float sum_of(Exec& exec, const TileSide<W>& side, int tile_row, index_t t, index_t row) const {
    float sum = 0;
    for (int r = 0; r < side.runs.counts[tile_row]; ++r) {
      sum += exec.fresh(side.sums + (r * x.rows + t) * y.cols + row);
    }
    return sum;
  }
};

}  // namespace hack::kernels::cuda

#define HACK_TILE_PRODUCTS_1(X, W) X(TileProduct<W, 1, true>)
#define HACK_TILE_PRODUCTS_8(X, W) X(TileProduct<W, 8, true>)
#define HACK_UNALIGNED_TILE_PRODUCTS(X, T) \
  X(TileProduct<float, T, false>)          \
  X(TileProduct<bf16, T, false>)           \
  X(TileProduct<f16, T, false>)            \
  X(TileProduct<std::int8_t, T, false>)
/// Those of one token and those of up to eight, which take as long to compile.
#define HACK_TILE_PRODUCT_KERNELS_1(X) \
  HACK_FOR_EACH_TERM_CODEC(HACK_TILE_PRODUCTS_1, X) HACK_UNALIGNED_TILE_PRODUCTS(X, 1)
#define HACK_TILE_PRODUCT_KERNELS_8(X) \
  HACK_FOR_EACH_TERM_CODEC(HACK_TILE_PRODUCTS_8, X) HACK_UNALIGNED_TILE_PRODUCTS(X, 8)
#define HACK_TILE_PRODUCT_KERNELS(X) HACK_TILE_PRODUCT_KERNELS_1(X) HACK_TILE_PRODUCT_KERNELS_8(X)
