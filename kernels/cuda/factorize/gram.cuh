#pragma once

#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

/// sum += Σ_t a_t b_tᵀ: a block of threads per 32 × 32 numbers, the tokens of one call added in f32. With `lower_only`
/// blocks above the diagonal do nothing.
struct OuterProducts {
  static constexpr const char* name = "OuterProducts";
  static constexpr int side = 32;
  static constexpr int max_threads = 256;
  static constexpr int rows_of_thread = side * side / max_threads;
  Array<const float> a;
  Array<const float> b;
  Array<double> sum;
  bool lower_only = false;

  Geometry geometry() const {
    return {divide_up(sum.rows, side) * divide_up(sum.cols, side), max_threads, 2 * side * side};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t across = (sum.cols + side - 1) / side;
    const index_t first_row = exec.block() / across * side, first_col = exec.block() % across * side;
    if (lower_only && first_col > first_row) return;
    const auto left = exec.template shared<float>(0);  // (tokens, side)
    const auto right = exec.template shared<float>(side * side);
    const int col = exec.thread() % side, row = exec.thread() / side;
    float products[rows_of_thread] = {};
    for (index_t first = 0; first < a.rows; first += side) {
      exec.sync();  // the tokens before have been read
      for (int n = exec.thread(); n < side * side; n += max_threads) {
        const index_t t = first + n / side, i = first_row + n % side, j = first_col + n % side;
        left[n] = t < a.rows && i < a.cols ? a.row(t)[i] : 0.0f;
        right[n] = t < b.rows && j < b.cols ? b.row(t)[j] : 0.0f;
      }
      exec.sync();
      for (int t = 0; t < side; ++t) {
        const float value = right[t * side + col];
        HACK_UNROLL
        for (int r = 0; r < rows_of_thread; ++r) {
          products[r] = fmaf(left[t * side + row + r * (side / rows_of_thread)], value, products[r]);
        }
      }
    }
    HACK_UNROLL
    for (int r = 0; r < rows_of_thread; ++r) {
      const index_t i = first_row + row + r * (side / rows_of_thread), j = first_col + col;
      if (i < sum.rows && j < sum.cols) sum.row(i)[j] += static_cast<double>(products[r]);
    }
  }
};

}  // namespace hack::kernels::cuda

#define HACK_GRAM_KERNELS(X) X(OuterProducts)
