#pragma once

#include "kernels/cuda/factored_plan.cuh"
#include "kernels/cuda/row_dot.cuh"

namespace hack::kernels::cuda {

/// V phase for up to T tokens: z of up to 64 rows of one tile's V (or pivots) a block, eight lanes a row; all of them
/// share the tile's columns of x. Of a dense tile the block copies x.
template <class W, int T>
struct Project {
  static constexpr const char* name = "Project";
  static constexpr int max_threads = 256;
  static constexpr int lanes = 8;
  static constexpr int groups = max_threads / lanes;
  static constexpr int rows_of_group = FactoredShares::projected_rows / groups;
  static constexpr int panel = 1024;
  static constexpr int stride = spread_size(panel);
  FactoredShares w;
  const W* v = nullptr;
  const float* scale = nullptr;
  Array<const float> x;
  Array<float> z;

  Geometry geometry() const { return {w.projection_count, max_threads, T * stride}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const Projection part = w.projections[exec.block()];
    const int tokens = static_cast<int>(x.rows);
    if (part.rows == 0) {
      for (int t = 0; t < tokens; ++t) {
        for (int l = exec.thread(); l < part.width; l += max_threads) z.row(t)[part.z + l] = x.row(t)[part.col + l];
      }
      return;
    }
    const auto vectors = exec.template shared<float>(0);
    const int group = exec.thread() / lanes, lane = exec.thread() % lanes;
    float sums[rows_of_group][T] = {};
    for (int first = 0; first < part.width; first += panel) {
      const int count = part.width - first < panel ? part.width - first : panel;
      if (first > 0) exec.sync();  // the last panel has been read
      load_vectors(exec, x, part.col + first, count, stride, vectors);
      exec.sync();
      HACK_UNROLL
      for (int n = 0; n < rows_of_group; ++n) {
        const index_t row = group + n * groups;
        if (row < part.rows) {
          add_row_dot<W, T>(exec, v + part.v + row * part.width + first, count, vectors, 0, stride, tokens, lane, lanes,
                            sums[n]);
        }
      }
    }
    HACK_UNROLL
    for (int n = 0; n < rows_of_group; ++n) {
      const int row = group + n * groups;
      HACK_UNROLL
      for (int t = 0; t < T; ++t) {
        const float sum = exec.group_sum(sums[n][t], lanes);
        if (t < tokens && lane == 0 && row < part.rows)
          z.row(t)[part.z + row] = part.scale < 0 ? sum : sum * scale[part.scale + row];
      }
    }
  }
};

/// U phase for up to T tokens: y of eight rows of a tile row a block, eight lanes a row and four groups of lanes that
/// share out the pieces of rank space. All tiles of the tile row are added up where y is made: z of one panel at a time
/// is in shared memory.
template <class W, int T>
struct Expand {
  static constexpr const char* name = "Expand";
  static constexpr int max_threads = 256;
  static constexpr int lanes = 8;
  static constexpr int rows = FactoredShares::expanded_rows_of_few;
  static constexpr int slices = max_threads / lanes / rows;
  static constexpr int stride = spread_size(FactoredShares::panel);
  FactoredShares w;
  const W* u = nullptr;
  Array<const float> z;
  Array<float> y;

  Geometry geometry() const { return {w.few_count, max_threads, T * stride + slices * rows * T}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const Expansion part = w.few[exec.block()];
    const int tokens = static_cast<int>(z.rows);
    const auto vectors = exec.template shared<float>(0);
    const int group = exec.thread() / lanes, lane = exec.thread() % lanes;
    const int row = group % rows, slice = group / rows;
    float sums[T] = {};
    for (int p = part.first_panel; p < part.last_panel; ++p) {
      const Panel panel = w.panels[p];
      exec.sync();  // the last panel has been read
      load_vectors(exec, z, panel.z, panel.length, stride, vectors);
      exec.sync();
      if (row < part.rows) {
        for (int q = panel.first_piece + slice; q < panel.last_piece; q += slices) {
          add_piece(exec, w.pieces[q], part.row + row, panel.z, tokens, lane, vectors, sums);
        }
      }
    }
    const auto parts = exec.template shared<float>(T * stride);
    HACK_UNROLL
    for (int t = 0; t < T; ++t) {
      const float sum = exec.group_sum(sums[t], lanes);
      if (lane == 0) parts[(slice * rows + row) * T + t] = sum;
    }
    exec.sync();
    if (exec.thread() >= part.rows * tokens) return;
    const int r = exec.thread() / tokens, t = exec.thread() % tokens;
    float sum = 0;
    HACK_UNROLL
    for (int s = 0; s < slices; ++s) sum += parts[(s * rows + r) * T + t];
    y.row(t)[part.y + r] = sum;
  }

 private:
  template <class Exec, class Z>
  HACK_BODY void add_piece(Exec& exec, const Piece& piece, int row, int panel_z, int tokens, int lane, const Z& vectors,
                           float (&sums)[T]) const {
    index_t stored = row;
    if (piece.pivots >= 0) {
      const PivotRow at(w.pivots + piece.pivots, row);
      if (at.is_pivot) {
        const int l = piece.first_pivot + at.above - piece.offset;
        if (lane == 0 && l >= 0 && l < piece.length) {
          HACK_UNROLL
          for (int t = 0; t < T; ++t) {
            if (t < tokens) sums[t] += vectors[t * stride + spread(piece.z - panel_z + l)];
          }
        }
        return;
      }
      stored -= at.above;
    }
    add_row_dot<W, T>(exec, u + piece.u + stored * piece.ld + piece.offset, piece.length, vectors, piece.z - panel_z,
                      stride, tokens, lane, lanes, sums);
  }
};

}  // namespace hack::kernels::cuda

#define HACK_FACTORED_KERNELS(X) \
  X(Project<float, 1>)           \
  X(Project<float, 8>)           \
  X(Project<bf16, 1>)            \
  X(Project<bf16, 8>)            \
  X(Project<f16, 1>)             \
  X(Project<f16, 8>)             \
  X(Expand<float, 1>)            \
  X(Expand<float, 8>)            \
  X(Expand<bf16, 1>)             \
  X(Expand<bf16, 8>)             \
  X(Expand<f16, 1>)              \
  X(Expand<f16, 8>)
