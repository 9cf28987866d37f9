#pragma once

#include "kernels/cuda/linear/factored_linear.cuh"
#include "kernels/cuda/linear/product.cuh"
#include "kernels/cuda/linear/product_row.cuh"

namespace hack::kernels::cuda {

/// V phase for many tokens: 64 tokens and up to 64 rows of one tile's V a block.
template <class W>
struct ProjectMany {
  static constexpr const char* name = "ProjectMany";
  using Codec = CodecOf<W>;
  using Operand = typename Codec::Operand;
  using Product = BlockProduct<Operand>;
  static constexpr int max_threads = Product::threads;
  static_assert(FactoredPlanLists::projected_rows == Product::outputs);
  FactoredPlanLists w;
  Factors<W> v;
  const float* scale = nullptr;
  Array<const float> x;
  Array<float> z;

  Geometry geometry() const {
    return {w.projection_count * divide_up(x.rows, Product::tokens), max_threads, Product::shared_words};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const ProjectionShare part = w.projections[exec.block() % w.projection_count];
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
        ProductWeights(exec, [&](int i) {
          const index_t number = static_cast<index_t>(i) * part.ld;
          return i < part.rows ? ProductRow<W>{v.row(part.v, part.v_scales, number)} : ProductRow<W>{};
        }));
    product.for_each(exec, [&](int t, int i, float sum) {
      if (t >= tokens || i >= part.rows) return;
      if constexpr (Codec::scales_rows) sum *= Codec::scale(exec, v.scales + part.v_scales, i);
      z.row(first + t)[part.z + i] = part.scale < 0 ? sum : sum * scale[part.scale + i];
    });
  }
};

/// U phase for many tokens: 64 tokens and up to 64 rows of one tile row a block, which goes through all its tiles. A
/// skeleton row stands in the product as a unit vector. With scales every piece is a sum of its own, which joins the
/// others multiplied with its rows' scales.
template <class W>
struct ExpandMany {
  static constexpr const char* name = "ExpandMany";
  using Codec = CodecOf<W>;
  using Operand = typename Codec::Operand;
  using Product = BlockProduct<Operand>;
  static constexpr int max_threads = Product::threads;
  static_assert(FactoredPlanLists::expanded_rows_of_many == Product::outputs);
  FactoredPlanLists w;
  Factors<W> u;
  Array<const float> z;
  Array<float> y;
  bool adds = false;

  Geometry geometry() const {
    return {w.many_count * divide_up(z.rows, Product::tokens), max_threads, Product::shared_words};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const ExpansionShare part = w.many[exec.block() % w.many_count];
    const index_t first = exec.block() / w.many_count * Product::tokens;
    const int tokens = static_cast<int>(z.rows - first < Product::tokens ? z.rows - first : Product::tokens);
    Product product;
    ScaledSums<Operand> all;  // with scales, of the pieces so far
    for (int p = part.first_panel; p < part.last_panel; ++p) {
      for (int q = w.panels[p].first_piece; q < w.panels[p].last_piece; ++q) {
        const RankPiece piece = w.pieces[q];
        product.add(
            exec, piece.length, [&](int t, int l) { return t < tokens ? z.row(first + t)[piece.z + l] : 0.0f; },
            ProductWeights(exec, [&](int i) { return i < part.rows ? row_of(piece, part.row + i) : ProductRow<W>{}; }));
        if constexpr (Codec::scales_rows) {
          all.take(exec, product, [&](int i) { return i < part.rows ? scale(exec, piece, part.row + i) : 0.0f; });
        }
      }
    }
    if constexpr (Codec::scales_rows) all.give_back(product);
    product.for_each(exec, [&](int t, int i, float sum) {
      if (t >= tokens || i >= part.rows) return;
      float& to = y.row(first + t)[part.y + i];
      to = adds ? to + sum : sum;
    });
  }

 private:
  /// A row's part in a piece.
  HACK_BODY ProductRow<W> row_of(const RankPiece& piece, int row) const {
    index_t stored = row;
    if (piece.skeleton >= 0) {
      const SkeletonRow at(w.skeleton + piece.skeleton, row);
      if (at.is_skeleton) return {{}, piece.first_skeleton + at.above - piece.offset};
      stored -= at.above;
    }
    return {u.row(piece.u, piece.u_scales, stored * piece.ld + piece.offset)};
  }

  template <class Exec>
  HACK_BODY float scale(Exec& exec, const RankPiece& piece, int row) const {
    index_t stored = row;
    if (piece.skeleton >= 0) {
      const SkeletonRow at(w.skeleton + piece.skeleton, row);
      if (at.is_skeleton) return 1;
      stored -= at.above;
    }
    return Codec::scale(exec, u.scales + piece.u_scales, stored);
  }
};

}  // namespace hack::kernels::cuda

#define HACK_FACTORED_PRODUCT_KERNELS_OF(X, W) \
  X(ProjectMany<W>)                            \
  X(ExpandMany<W>)
#define HACK_FACTORED_PRODUCT_KERNELS(X) HACK_FOR_EACH_TERM_CODEC(HACK_FACTORED_PRODUCT_KERNELS_OF, X)
