#pragma once

#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

/// A row of a norm as the threads of a block hold it: all its loads and those of the norm's weights are on their way
/// before one is waited for, and each number is read once.
struct NormedRow {
  static constexpr int most_threads = 1024;
  static constexpr int held = 4;  // fours of a thread; longer rows are read again

  /// As many threads as the row has fours.
  static Geometry geometry(index_t rows, index_t cols, int most = most_threads) {
    const index_t threads = divide_up(divide_up(cols, 4), 32) * 32;
    return {rows, static_cast<int>(threads < 32 ? 32 : threads < most ? threads : most), 32};
  }

  /// y = x / sqrt(mean(x²) + epsilon) * weight of one row; take(j, x) gives the number j of x, and takeFour(j, x) four
  /// of them where `fours` says that rows of all arrays begin at 16 bytes.
  template <class Exec, class Take, class TakeFour>
  HACK_BODY static void run(Exec& exec, int cols, const float* weight, float epsilon, float* y, bool fours,
                            const Take& take, const TakeFour& take_four) {
    const int step = 4 * exec.threads();
    if (fours && cols % 4 == 0 && cols <= held * step) {
      run_held(exec, cols, weight, epsilon, y, take_four);
      return;
    }
    float squares = 0;
    for (int j = exec.thread(); j < cols; j += exec.threads()) {
      const float x = take(j);
      y[j] = x;  // this thread's own, until it is normed
      squares += x * x;
    }
    const float factor = factor_of(exec, squares, cols, epsilon);
    // The product with the factor is rounded first, as on the CPU.
    for (int j = exec.thread(); j < cols; j += exec.threads()) y[j] = y[j] * factor * weight[j];
  }

 private:
  template <class Exec>
  HACK_BODY static float factor_of(Exec& exec, float squares, int cols, float epsilon) {
    return 1 / sqrtf(block_sum(exec, squares, 0) / static_cast<float>(cols) + epsilon);
  }

  template <class Exec, class TakeFour>
  HACK_BODY static void run_held(Exec& exec, int cols, const float* weight, float epsilon, float* y,
                                 const TakeFour& take_four) {
    const int step = 4 * exec.threads();
    float x[held][4], weights[held][4];
    HACK_UNROLL
    for (int u = 0; u < held; ++u) {
      const int j = 4 * exec.thread() + u * step;
      if (j < cols) exec.load_floats(weight + j, weights[u]);
    }
    float squares = 0;
    take_four(x);
    HACK_UNROLL
    for (int u = 0; u < held; ++u) {
      if (4 * exec.thread() + u * step >= cols) continue;
      HACK_UNROLL
      for (int q = 0; q < 4; ++q) squares += x[u][q] * x[u][q];
    }
    const float factor = factor_of(exec, squares, cols, epsilon);
    HACK_UNROLL
    for (int u = 0; u < held; ++u) {
      const int j = 4 * exec.thread() + u * step;
      if (j >= cols) continue;
      HACK_UNROLL
      for (int q = 0; q < 4; ++q) x[u][q] = x[u][q] * factor * weights[u][q];
      exec.store_floats(y + j, x[u]);
    }
  }
};

/// Calls visit(u, j) for the fours that a thread holds of a row.
template <class Exec, class Visit>
HACK_BODY void for_held_fours(Exec& exec, int cols, const Visit& visit) {
  HACK_UNROLL
  for (int u = 0; u < NormedRow::held; ++u) {
    const int j = 4 * (exec.thread() + u * exec.threads());
    if (j < cols) visit(u, j);
  }
}

/// Whether the rows of arrays begin at 16 bytes.
template <class... T>
HACK_BODY bool at_16_bytes(T... addresses) {
  return ((reinterpret_cast<std::uintptr_t>(addresses) | ...) % 16) == 0;
}

/// A block per row; y may be x.
struct RmsNorm {
  static constexpr const char* name = "RmsNorm";
  static constexpr int max_threads = NormedRow::most_threads;
  Array<const float> x;
  const float* weight = nullptr;
  float epsilon = 0;
  Array<float> y;

  Geometry geometry() const { return NormedRow::geometry(x.rows, x.cols); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const float* from = x.row(exec.block());
    float* to = y.row(exec.block());
    const int cols = static_cast<int>(x.cols);
    NormedRow::run(
        exec, cols, weight, epsilon, to, at_16_bytes(from, to, weight), [&](int j) { return from[j]; },
        [&](float(&held)[NormedRow::held][4]) {
          for_held_fours(exec, cols, [&](int u, int j) { exec.load_floats(from + j, held[u]); });
        });
  }
};

/// x += y, and normed = norm(x) weight: the residual connection and the norm behind it. A block per row.
struct AddNorm {
  static constexpr const char* name = "AddNorm";
  static constexpr int max_threads = NormedRow::most_threads;
  Array<const float> y;
  Array<float> x;
  const float* weight = nullptr;
  float epsilon = 0;
  Array<float> normed;

  Geometry geometry() const { return NormedRow::geometry(x.rows, x.cols); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const float* from = y.row(exec.block());
    float* stream = x.row(exec.block());
    float* to = normed.row(exec.block());
    const int cols = static_cast<int>(x.cols);
    NormedRow::run(
        exec, cols, weight, epsilon, to, at_16_bytes(from, stream, to, weight),
        [&](int j) { return stream[j] += from[j]; },
        [&](float(&held)[NormedRow::held][4]) {
          float more[NormedRow::held][4];
          for_held_fours(exec, cols, [&](int u, int j) {
            exec.load_floats(stream + j, held[u]);
            exec.load_floats(from + j, more[u]);
          });
          for_held_fours(exec, cols, [&](int u, int j) {
            HACK_UNROLL
            for (int q = 0; q < 4; ++q) held[u][q] += more[u][q];
            exec.store_floats(stream + j, held[u]);
          });
        });
  }
};

}  // namespace hack::kernels::cuda

#define HACK_NORM_KERNELS(X) \
  X(RmsNorm)                 \
  X(AddNorm)
