#pragma once

#include "kernels/cuda/factored_plan.cuh"
#include "kernels/cuda/product.cuh"
#include "kernels/cuda/row_dot.cuh"

namespace hack::kernels::cuda {

/// What row `row` of a tile row (counted there) is in a pivoted tile: a pivot, or a row of coefficients.
struct PivotRow {
  bool is_pivot;
  int above;  ///< pivots above it, of the rows that the view has

  HACK_BODY PivotRow(const std::uint32_t* eights, int row) {
    const std::uint32_t eight = eights[row / 8];
    std::uint32_t before = eight & ((1u << (row % 8)) - 1);
    before -= before >> 1 & 0x55u;
    before = (before & 0x33u) + (before >> 2 & 0x33u);
    above = static_cast<int>((eight >> 8) + ((before + (before >> 4)) & 0xfu));
    is_pivot = (eight >> (row % 8) & 1u) != 0;
  }
};

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
        if (t < tokens && lane == 0 && row < part.rows) z.row(t)[part.z + row] = part.scale < 0 ? sum : sum * scale[part.scale + row];
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
      if (row >= part.rows) continue;
      for (int q = panel.first_piece + slice; q < panel.last_piece; q += slices) {
        add_piece(exec, w.pieces[q], part.row + row, panel.z, tokens, lane, vectors, sums);
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

/// V phase for many tokens: 64 tokens and up to 64 rows of one tile's V a block.
template <class W>
struct ProjectMany {
  static constexpr const char* name = "ProjectMany";
  using Product = TileProduct<W>;
  static constexpr int max_threads = Product::threads;
  static_assert(FactoredShares::projected_rows == Product::outputs);
  FactoredShares w;
  const W* v = nullptr;
  const float* scale = nullptr;
  Array<const float> x;
  Array<float> z;

  Geometry geometry() const {
    return {w.projection_count * divide_up(x.rows, Product::tokens), max_threads, Product::shared_words};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const Projection part = w.projections[exec.block() % w.projection_count];
    const index_t first = exec.block() / w.projection_count * Product::tokens;
    const int tokens = static_cast<int>(x.rows - first < Product::tokens ? x.rows - first : Product::tokens);
    if (part.rows == 0) {
      for (int n = exec.thread(); n < tokens * part.width; n += max_threads) {
        z.row(first + n / part.width)[part.z + n % part.width] = x.row(first + n / part.width)[part.col + n % part.width];
      }
      return;
    }
    Product product;
    product.add(
        exec, part.width, [&](int t, int l) { return t < tokens ? x.row(first + t)[part.col + l] : 0.0f; },
        [&](int i, int l) { return i < part.rows ? v[part.v + static_cast<index_t>(i) * part.width + l] : W{}; });
    product.for_each(exec, [&](int t, int i, float sum) {
      if (t >= tokens || i >= part.rows) return;
      z.row(first + t)[part.z + i] = part.scale < 0 ? sum : sum * scale[part.scale + i];
    });
  }
};

/// U phase for many tokens: 64 tokens and up to 64 rows of one tile row a block, which goes through all its tiles. A
/// pivot's row stands in the product as a unit vector.
template <class W>
struct ExpandMany {
  static constexpr const char* name = "ExpandMany";
  using Product = TileProduct<W>;
  static constexpr int max_threads = Product::threads;
  static_assert(FactoredShares::expanded_rows_of_many == Product::outputs);
  FactoredShares w;
  const W* u = nullptr;
  Array<const float> z;
  Array<float> y;

  Geometry geometry() const {
    return {w.many_count * divide_up(z.rows, Product::tokens), max_threads, Product::shared_words};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const Expansion part = w.many[exec.block() % w.many_count];
    const index_t first = exec.block() / w.many_count * Product::tokens;
    const int tokens = static_cast<int>(z.rows - first < Product::tokens ? z.rows - first : Product::tokens);
    Product product;
    for (int p = part.first_panel; p < part.last_panel; ++p) {
      for (int q = w.panels[p].first_piece; q < w.panels[p].last_piece; ++q) {
        const Piece piece = w.pieces[q];
        product.add(
            exec, piece.length, [&](int t, int l) { return t < tokens ? z.row(first + t)[piece.z + l] : 0.0f; },
            [&](int i, int l) { return i < part.rows ? number(piece, part.row + i, l) : W{}; });
      }
    }
    product.for_each(exec, [&](int t, int i, float sum) {
      if (t < tokens && i < part.rows) y.row(first + t)[part.y + i] = sum;
    });
  }

 private:
  HACK_BODY W number(const Piece& piece, int row, int l) const {
    index_t stored = row;
    if (piece.pivots >= 0) {
      const PivotRow at(w.pivots + piece.pivots, row);
      if (at.is_pivot) return piece.first_pivot + at.above == piece.offset + l ? one() : W{};
      stored -= at.above;
    }
    return u[piece.u + stored * piece.ld + piece.offset + l];
  }

  HACK_BODY static W one() {
    if constexpr (std::is_same_v<W, float>) {
      return 1;
    } else {
      return W{static_cast<std::uint16_t>(std::is_same_v<W, bf16> ? 0x3f80 : 0x3c00)};
    }
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
  X(Expand<f16, 8>)              \
  X(ProjectMany<float>)          \
  X(ProjectMany<bf16>)           \
  X(ProjectMany<f16>)            \
  X(ExpandMany<float>)           \
  X(ExpandMany<bf16>)            \
  X(ExpandMany<f16>)
