#pragma once

#include "kernels/cuda/linear/product.cuh"
#include "kernels/cuda/linear/product_row.cuh"
#include "kernels/cuda/linear/row_stream.cuh"

namespace hack::kernels::cuda {

/// y = x wᵀ, or y += x wᵀ, for up to T tokens that RowStream takes: a warp for some rows of w.
template <class W, int T>
struct MatVec {
  static constexpr const char* name = "MatVec";
  static constexpr int max_threads = 256;
  static constexpr int least_blocks = T > 1 ? 1 : blocks_of_stream<W>;
  static constexpr int warps = max_threads / 32;
  static constexpr int rows_of_warp = T == 1 ? 2 : 4;
  using Stream = RowStream<W, T, rows_of_warp>;
  Array<const float> x;
  Weights<W> w;
  Array<float> y;
  bool adds = false;

  Geometry geometry() const { return {divide_up(w.rows, warps * rows_of_warp), max_threads, Stream::Planes::words}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t first = (exec.block() * warps + exec.warp()) * rows_of_warp;
    Stream stream;
    HACK_UNROLL
    for (int r = 0; r < rows_of_warp; ++r) {
      stream.rows[r] = {w.row(first + r < w.rows ? first + r : w.rows - 1), exec.lane()};
    }
    stream.run(exec, x, first < w.rows);
    HACK_UNROLL
    for (int r = 0; r < rows_of_warp; ++r) {
      HACK_UNROLL
      for (int t = 0; t < T; ++t) {
        float sum = exec.group_sum(stream.sums[r][t], 32);
        const index_t row = first + r;
        if (t < x.rows && exec.lane() == 0 && row < w.rows) {
          if constexpr (CodecOf<W>::scales_rows) sum *= w.scale(exec, row);
          y.row(t)[row] = adds ? y.row(t)[row] + sum : sum;
        }
      }
    }
  }
};

/// The same of any shape and alignment, number by number: a warp for every number of y.
template <class W>
struct MatVecOfAny {
  static constexpr const char* name = "MatVecOfAny";
  static constexpr int max_threads = 256;
  static constexpr int warps = max_threads / 32;
  Array<const float> x;
  Weights<W> w;
  Array<float> y;
  bool adds = false;

  Geometry geometry() const { return {divide_up(w.rows * x.rows, warps), max_threads, 0}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t number = exec.block() * warps + exec.warp(), t = number / w.rows, row = number % w.rows;
    float sum = 0;
    if (t < x.rows) {
      for (index_t l = exec.lane(); l < w.cols; l += 32) sum = fmaf(weight_of(exec, w, row, l), x.row(t)[l], sum);
    }
    sum = exec.group_sum(sum, 32);
    if (t < x.rows && exec.lane() == 0) y.row(t)[row] = adds ? y.row(t)[row] + sum : sum;
  }
};

/// y = x wᵀ, or y += x wᵀ, for many tokens: 64 tokens and 64 rows of w a block. Where the library has no product.
template <class W>
struct MatMul {
  static constexpr const char* name = "MatMul";
  using Operand = typename CodecOf<W>::Operand;
  using Product = BlockProduct<Operand>;
  static constexpr int max_threads = Product::threads;
  Array<const float> x;
  Weights<W> w;
  Array<float> y;
  bool adds = false;

  Geometry geometry() const {
    return {divide_up(x.rows, Product::tokens) * divide_up(w.rows, Product::outputs), max_threads,
            Product::shared_words};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t across = (w.rows + Product::outputs - 1) / Product::outputs;
    const index_t token = exec.block() / across * Product::tokens, row = exec.block() % across * Product::outputs;
    Product product;
    product.add(
        exec, static_cast<int>(x.cols), [&](int t, int l) { return token + t < x.rows ? x.row(token + t)[l] : 0.0f; },
        ProductWeights(exec,
                       [&](int i) { return row + i < w.rows ? ProductRow<W>{w.row(row + i)} : ProductRow<W>{}; }));
    product.for_each(exec, [&](int t, int i, float sum) {
      if (token + t >= y.rows || row + i >= y.cols) return;
      if constexpr (CodecOf<W>::scales_rows) sum *= w.scale(exec, row + i);
      float& to = y.row(token + t)[row + i];
      to = adds ? to + sum : sum;
    });
  }
};

}  // namespace hack::kernels::cuda

#define HACK_LINEAR_KERNELS_OF(X, W) \
  X(MatVec<W, 1>)                    \
  X(MatVec<W, 8>)                    \
  X(MatVecOfAny<W>)                  \
  X(MatMul<W>)
#define HACK_LINEAR_KERNELS(X) HACK_FOR_EACH_CODEC(HACK_LINEAR_KERNELS_OF, X)
