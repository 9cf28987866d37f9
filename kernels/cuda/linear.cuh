#pragma once

#include "kernels/cuda/row_dot.cuh"

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
  Array<const W> w;
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
      load_vectors(exec, x, first, count, stride, z);
      exec.sync();
      if (row < w.rows) {
        add_row_dot<W, T>(exec, w.row(row) + first, count, z, 0, stride, tokens, exec.lane(), 32, sums);
      }
    }
    HACK_UNROLL
    for (int t = 0; t < T; ++t) {
      const float sum = exec.group_sum(sums[t], 32);
      if (t < tokens && exec.lane() == 0 && row < w.rows) y.row(t)[row] = adds ? y.row(t)[row] + sum : sum;
    }
  }
};

}  // namespace hack::kernels::cuda

#define HACK_LINEAR_KERNELS(X) \
  X(MatVec<float, 1>)          \
  X(MatVec<float, 8>)          \
  X(MatVec<bf16, 1>)           \
  X(MatVec<bf16, 8>)           \
  X(MatVec<f16, 1>)            \
  X(MatVec<f16, 8>)
