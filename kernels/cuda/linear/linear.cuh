#pragma once

#include "kernels/cuda/linear/product.cuh"
#include "kernels/cuda/linear/product_row.cuh"
#include "kernels/cuda/linear/row_dot.cuh"

namespace hack::kernels::cuda {

/// y = x wᵀ, or y += x wᵀ, for up to T tokens: a warp for every row of w, x in shared memory panel by panel.
template <class W, int T>
struct MatVec {
  static constexpr const char* name = "MatVec";
  static constexpr int max_threads = 256;
  static constexpr int warps = max_threads / 32;
  static constexpr int panel = T == 1 ? 4096 : 1024;
  static constexpr int stride = spread_size(panel);
  Array<const float> x;
  Weights<W> w;
  Array<float> y;
  bool adds = false;

  Geometry geometry() const { return {divide_up(w.rows, warps), max_threads, T * stride}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const auto z = exec.template shared<float>(0);
    const index_t row = exec.block() * warps + exec.warp();
    const int tokens = static_cast<int>(x.rows);
    float sums[T] = {};
    for (index_t first = 0; first < w.cols; first += panel) {
      const int count = static_cast<int>(w.cols - first < panel ? w.cols - first : panel);
      if (first > 0) exec.sync();  // the last panel has been read
      load_vectors<W>(exec, x, first, count, stride, z);
      exec.sync();
      if (row < w.rows) {
        add_row_dot<W, T>(exec, w.row(row, first), count, z, 0, stride, tokens, exec.lane(), 32, sums);
      }
    }
    HACK_UNROLL
    for (int t = 0; t < T; ++t) {
      float sum = exec.group_sum(sums[t], 32);
      if (t < tokens && exec.lane() == 0 && row < w.rows) {
        if constexpr (CodecOf<W>::scales_rows) sum *= w.scale(exec, row);
        y.row(t)[row] = adds ? y.row(t)[row] + sum : sum;
      }
    }
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
  X(MatMul<W>)
#define HACK_LINEAR_KERNELS(X) HACK_FOR_EACH_CODEC(HACK_LINEAR_KERNELS_OF, X)
