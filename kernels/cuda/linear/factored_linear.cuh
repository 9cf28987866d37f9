#pragma once

#include "kernels/cuda/llama/elementwise.cuh"
#include "kernels/cuda/linear/factored_plan.cuh"
#include "kernels/cuda/linear/row_dot.cuh"

namespace hack::kernels::cuda {

/// z of one share of the V phase, for up to T tokens, or what one split of its columns adds to it: eight lanes a row of
/// V (or of skeleton rows); all rows share the tile's columns of x. Of a dense tile the block copies x, in the first
/// split.
template <class W, int T>
struct ProjectRows {
  static constexpr int threads = 256;
  static constexpr int lanes = 8;
  static constexpr int groups = threads / lanes;
  static constexpr int rows_of_group = FactoredPlanLists::projected_rows / groups;
  static constexpr int panel = 1024;
  static constexpr int stride = spread_size(panel);
  static constexpr int shared_words = T * stride;

  template <class Exec>
  HACK_BODY static void run(Exec& exec, const ProjectionShare& part, const Factors<W>& v, const float* scale,
                            const Array<const float>& x, index_t split, index_t splits, const Array<float>& all) {
    const int tokens = static_cast<int>(x.rows);
    const Array<float> z{all.row(split * tokens), tokens, all.cols, all.ld};
    if (part.rows == 0) {
      for (int t = 0; t < tokens; ++t) {
        for (int l = exec.thread(); l < part.width; l += threads) {
          z.row(t)[part.z + l] = split == 0 ? x.row(t)[part.col + l] : 0.0f;
        }
      }
      return;
    }
    const int begin = column(part.width, split, splits), end = column(part.width, split + 1, splits);
    const auto vectors = exec.template shared<float>(0);
    const int group = exec.thread() / lanes, lane = exec.thread() % lanes;
    float sums[rows_of_group][T] = {};
    for (int first = begin; first < end; first += panel) {
      const int count = end - first < panel ? end - first : panel;
      if (first > begin) exec.sync();  // the last panel has been read
      load_vectors<W>(exec, x, part.col + first, count, stride, vectors);
      exec.sync();
      HACK_UNROLL
      for (int n = 0; n < rows_of_group; ++n) {
        const index_t row = group + n * groups;
        if (row < part.rows) {
          add_row_dot<W, T>(exec, v.row(part.v, part.v_scales, row * part.ld + first), count, vectors, 0, stride,
                            tokens, lane, lanes, sums[n]);
        }
      }
    }
    HACK_UNROLL
    for (int n = 0; n < rows_of_group; ++n) {
      const int row = group + n * groups;
      HACK_UNROLL
      for (int t = 0; t < T; ++t) {
        float sum = exec.group_sum(sums[n][t], lanes);
        if (t < tokens && lane == 0 && row < part.rows) {
          if constexpr (CodecOf<W>::scales_rows) sum *= CodecOf<W>::scale(exec, v.scales + part.v_scales, row);
          z.row(t)[part.z + row] = part.scale < 0 ? sum : sum * scale[part.scale + row];
        }
      }
    }
  }

 private:
  /// Where a split of `width` columns begins.
  HACK_BODY static int column(int width, index_t split, index_t splits) {
    constexpr int least = FactoredPlanLists::projected_columns;
    const index_t first = (width + least - 1) / least * split / splits * least;
    return first < width ? static_cast<int>(first) : width;
  }
};

/// One share of the U phase, for up to T tokens: y of eight rows of a tile row, eight lanes a row and four groups of
/// lanes that share out the pieces of rank space. All tiles of the tile row are added up where y is made: z of one
/// panel at a time is in shared memory.
template <class W, int T>
struct ExpandRows {
  static constexpr int threads = 256;
  static constexpr int lanes = 8;
  static constexpr int rows = FactoredPlanLists::expanded_rows_of_few;
  static constexpr int slices = threads / lanes / rows;
  static constexpr int stride = spread_size(FactoredPlanLists::panel);
  static constexpr int z_words = T * stride;           // of shared memory, for z
  static constexpr int sum_words = slices * rows * T;  // and for the sums of the four groups

  /// Leaves the groups' sums in shared memory, from word `sums_at` on; the block's threads meet before they are read.
  template <class Exec>
  HACK_BODY static void run(Exec& exec, const FactoredPlanLists& w, const Factors<W>& u, const ExpansionShare& part,
                            const Array<const float>& z, int sums_at) {
    const int tokens = static_cast<int>(z.rows);
    const auto vectors = exec.template shared<float>(0);
    const int group = exec.thread() / lanes, lane = exec.thread() % lanes;
    const int row = group % rows, slice = group / rows;
    float sums[T] = {};
    for (int p = part.first_panel; p < part.last_panel; ++p) {
      const Panel panel = w.panels[p];
      exec.sync();  // the last panel has been read
      load_vectors<W>(exec, z, panel.z, panel.length, stride, vectors);
      exec.sync();
      if (row < part.rows) {
        for (int q = panel.first_piece + slice; q < panel.last_piece; q += slices) {
          add_piece(exec, w, u, w.pieces[q], part.row + row, panel.z, tokens, lane, vectors, sums);
        }
      }
    }
    const auto parts = exec.template shared<float>(sums_at);
    HACK_UNROLL
    for (int t = 0; t < T; ++t) {
      const float sum = exec.group_sum(sums[t], lanes);
      if (lane == 0) parts[(slice * rows + row) * T + t] = sum;
    }
  }

  /// The same, and to y: with splits, its sums one below the other.
  template <class Exec>
  HACK_BODY static void run_to(Exec& exec, const FactoredPlanLists& w, const Factors<W>& u, const ExpansionShare& part,
                               const Array<const float>& z, const Array<float>& y, bool adds = false) {
    const int tokens = static_cast<int>(z.rows);
    run(exec, w, u, part, z, z_words);
    exec.sync();
    if (exec.thread() >= part.rows * tokens) return;
    const int r = exec.thread() / tokens, t = exec.thread() % tokens;
    float& to = y.row(static_cast<index_t>(part.split) * tokens + t)[part.y + r];
    const float sum = result(exec, z_words, r, t);
    to = adds ? to + sum : sum;
  }

  /// y of row r and token t, of what run() has left.
  template <class Exec>
  HACK_BODY static float result(Exec& exec, int sums_at, int r, int t) {
    const auto parts = exec.template shared<float>(sums_at);
    float sum = 0;
    HACK_UNROLL
    for (int s = 0; s < slices; ++s) sum += parts[(s * rows + r) * T + t];
    return sum;
  }

 private:
  template <class Exec, class Z>
  HACK_BODY static void add_piece(Exec& exec, const FactoredPlanLists& w, const Factors<W>& u, const RankPiece& piece,
                                  int row, int panel_z, int tokens, int lane, const Z& vectors, float (&sums)[T]) {
    index_t stored = row;
    if (piece.skeleton >= 0) {
      const SkeletonRow at(w.skeleton + piece.skeleton, row);
      if (at.is_skeleton) {
        const int l = piece.first_skeleton + at.above - piece.offset;
        if (lane == 0 && l >= 0 && l < piece.length) {
          HACK_UNROLL
          for (int t = 0; t < T; ++t) {
            if (t < tokens) sums[t] += vectors[t * stride + spread<W>(piece.z - panel_z + l)];
          }
        }
        return;
      }
      stored -= at.above;
    }
    const RowCodes<W> codes = u.row(piece.u, piece.u_scales, stored * piece.ld + piece.offset);
    if constexpr (CodecOf<W>::scales_rows) {
      float parts[T] = {};
      add_row_dot<W, T>(exec, codes, piece.length, vectors, piece.z - panel_z, stride, tokens, lane, lanes, parts);
      const float scale = CodecOf<W>::scale(exec, u.scales + piece.u_scales, stored);
      HACK_UNROLL
      for (int t = 0; t < T; ++t) sums[t] = fmaf(scale, parts[t], sums[t]);
    } else {
      add_row_dot<W, T>(exec, codes, piece.length, vectors, piece.z - panel_z, stride, tokens, lane, lanes, sums);
    }
  }
};

/// V phase for up to T tokens: a block a share and split.
template <class W, int T>
struct Project {
  static constexpr const char* name = "Project";
  using Rows = ProjectRows<W, T>;
  static constexpr int max_threads = Rows::threads;
  FactoredPlanLists w;
  Factors<W> v;
  const float* scale = nullptr;
  Array<const float> x;
  index_t splits = 1;
  Array<float> z;  // (splits · tokens, rank space)

  Geometry geometry() const { return {splits * w.projection_count, max_threads, Rows::shared_words}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t split = exec.block() / w.projection_count;
    Rows::run(exec, w.projections[exec.block() % w.projection_count], v, scale, x, split, splits, z);
  }
};

/// U phase for up to T tokens: a block a share, of `few` with y, or of `split` with its sums one below the other.
template <class W, int T>
struct Expand {
  static constexpr const char* name = "Expand";
  using Rows = ExpandRows<W, T>;
  static constexpr int max_threads = Rows::threads;
  FactoredPlanLists w;
  const ExpansionShare* shares = nullptr;
  index_t count = 0;
  Factors<W> u;
  Array<const float> z;
  Array<float> y;     // (splits · tokens, rows)
  bool adds = false;  // to y

  Geometry geometry() const { return {count, max_threads, Rows::z_words + Rows::sum_words}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    Rows::run_to(exec, w, u, shares[exec.block()], z, y, adds);
  }
};

/// y = or +=, or z =, the sums of its splits, in their order.
struct AddSplits {
  static constexpr const char* name = "AddSplits";
  static constexpr int max_threads = RowPieces::threads;
  Array<const float> sums;  // (splits · tokens, rows)
  index_t splits = 1;
  Array<float> y;  // (tokens, rows)
  bool adds = false;

  Geometry geometry() const { return RowPieces::geometry(y.rows, y.cols); }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    for_each_in_piece(exec, y.cols, [&](index_t t, index_t i) {
      float sum = 0;
      for (index_t s = 0; s < splits; ++s) sum += sums.row(s * y.rows + t)[i];
      y.row(t)[i] = adds ? y.row(t)[i] + sum : sum;
    });
  }
};

}  // namespace hack::kernels::cuda

#define HACK_FACTORED_KERNELS_OF(X, W) \
  X(Project<W, 1>)                     \
  X(Project<W, 8>)                     \
  X(Expand<W, 1>)                      \
  X(Expand<W, 8>)
#define HACK_FACTORED_KERNELS(X)                        \
  HACK_FOR_EACH_TERM_CODEC(HACK_FACTORED_KERNELS_OF, X) \
  X(AddSplits)
