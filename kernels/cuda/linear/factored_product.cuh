#pragma once

#include "kernels/cuda/linear/factored_plan.cuh"
#include "kernels/cuda/linear/product.cuh"

namespace hack::kernels::cuda {

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
        z.row(first + n / part.width)[part.z + n % part.width] =
            x.row(first + n / part.width)[part.col + n % part.width];
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
/// skeleton row stands in the product as a unit vector.
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
    if (piece.skeleton >= 0) {
      const SkeletonRow at(w.skeleton + piece.skeleton, row);
      if (at.is_skeleton) return piece.first_skeleton + at.above == piece.offset + l ? one() : W{};
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

#define HACK_FACTORED_PRODUCT_KERNELS(X) \
  X(ProjectMany<float>)                  \
  X(ProjectMany<bf16>)                   \
  X(ProjectMany<f16>)                    \
  X(ExpandMany<float>)                   \
  X(ExpandMany<bf16>)                    \
  X(ExpandMany<f16>)
