#pragma once

#include "kernels/cuda/llama/elementwise.cuh"

namespace hack::kernels::cuda {

/// out = xᵀ; a block of threads per 32 × 32 numbers, which are read and written in whole rows.
struct Transpose {
  static constexpr const char* name = "Transpose";
  static constexpr int side = 32;
  static constexpr int max_threads = 256;
  Array<const float> x;
  Array<float> out;

  Geometry geometry() const {
    return {divide_up(x.rows, side) * divide_up(x.cols, side), max_threads, side * (side + 1)};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const auto tile = exec.template shared<float>(0);
    const index_t across = (x.cols + side - 1) / side;
    const index_t row = exec.block() / across * side, col = exec.block() % across * side;
    for (int n = exec.thread(); n < side * side; n += max_threads) {
      const index_t i = row + n / side, j = col + n % side;
      if (i < x.rows && j < x.cols) tile[n / side * (side + 1) + n % side] = x.row(i)[j];
    }
    exec.sync();
    for (int n = exec.thread(); n < side * side; n += max_threads) {
      const index_t i = row + n % side, j = col + n / side;
      if (i < x.rows && j < x.cols) out.row(j)[i] = tile[n % side * (side + 1) + n / side];
    }
  }
};

struct SwiGluInto {
  static constexpr const char* name = "SwiGluInto";
  static constexpr int max_threads = RowPieces::threads;
  Array<const float> gate;
  Array<const float> up;
  Array<float> out;

  Geometry geometry() const { return RowPieces::geometry(out.rows, out.cols); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    for_each_in_piece(exec, out.cols, [&](index_t i, index_t j) {
      const float a = gate.row(i)[j];
      out.row(i)[j] = a / (1 + expf(-a)) * up.row(i)[j];
    });
  }
};

struct SwiGluGradient {
  static constexpr const char* name = "SwiGluGradient";
  static constexpr int max_threads = RowPieces::threads;
  Array<const float> dout;
  Array<float> gate;
  Array<float> up;

  Geometry geometry() const { return RowPieces::geometry(dout.rows, dout.cols); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    for_each_in_piece(exec, dout.cols, [&](index_t i, index_t j) {
      const float a = gate.row(i)[j], b = up.row(i)[j], dy = dout.row(i)[j];
      const float s = 1 / (1 + expf(-a));
      gate.row(i)[j] = dy * b * (s * fmaf(a, 1 - s, 1.0f));
      up.row(i)[j] = dy * (a * s);
    });
  }
};

/// output_error(): a block of threads per row.
struct OutputError {
  static constexpr const char* name = "OutputError";
  static constexpr int max_threads = 256;
  Array<const float> target;
  const float* weights = nullptr;
  float factor = 1;
  Array<float> y;
  float* squares = nullptr;

  Geometry geometry() const { return {y.rows, max_threads, 32}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t i = exec.block();
    const float weight = weights != nullptr ? weights[i] : 1.0f;
    const float scale = weight * factor;
    float sum = 0;
    for (index_t j = exec.thread(); j < y.cols; j += max_threads) {
      const float difference = y.row(i)[j] - target.row(i)[j];
      sum = fmaf(difference, difference, sum);
      y.row(i)[j] = scale * difference;
    }
    sum = block_sum(exec, sum, 0);
    if (exec.thread() == 0) squares[i] = weight * sum;
  }
};

/// A step of Adam with its bias corrections folded into rate and root_scale, as in AdamFactors of the CPU.
struct AdamUpdate {
  static constexpr const char* name = "AdamUpdate";
  static constexpr int max_threads = RowPieces::threads;
  float rate, root_scale, epsilon, mean_decay, mean_gain, square_decay, square_gain;
  const float* gradient = nullptr;
  float* mean = nullptr;
  float* square = nullptr;
  float* x = nullptr;
  index_t n = 0;

  Geometry geometry() const { return RowPieces::geometry(n > 0 ? 1 : 0, n); }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    for_each_in_piece(exec, n, [&](index_t, index_t i) {
      const float g = gradient[i];
      const float m = fmaf(mean_decay, mean[i], mean_gain * g);
      const float v = fmaf(square_decay, square[i], square_gain * (g * g));
      mean[i] = m;
      square[i] = v;
      x[i] -= rate * m / fmaf(root_scale, sqrtf(v), epsilon);
    });
  }
};

}  // namespace hack::kernels::cuda

#define HACK_GRADIENT_KERNELS(X) \
  X(Transpose)                   \
  X(SwiGluInto)                  \
  X(SwiGluGradient)              \
  X(OutputError)                 \
  X(AdamUpdate)
