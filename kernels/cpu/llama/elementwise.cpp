#include "kernels/elementwise.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/linear/row_math.hpp"
#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/cpu/team.hpp"

namespace hack::kernels {

namespace {

template <class T>
index_t bytes_of(const MatrixView<T>& x) {
  return x.rows * x.cols * static_cast<index_t>(sizeof(float));
}

thread_local Scratch rotations;  // (2, head_dim / 2) cos, sin of one token

}  // namespace

template <>
void clear<Device::cpu>(Queue<Device::cpu>&, MatrixView<float> x) {
  for (index_t i = 0; i < x.rows; ++i) std::fill_n(x.row(i), x.cols, 0.0f);
}

template <>
void add<Device::cpu>(Queue<Device::cpu>& queue, MatrixView<const float> x, MatrixView<float> y) {
  HACK_EXPECT(x.rows == y.rows && x.cols == y.cols);
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 2 * bytes_of(y)))
  for (index_t i = 0; i < y.rows; ++i) {
    const float* from = x.row(i);
    float* to = y.row(i);
    for (index_t j = 0; j < y.cols; ++j) to[j] += from[j];
  }
}

template <>
void rms_norm<Device::cpu>(Queue<Device::cpu>& queue, MatrixView<const float> x, const float* weight, float epsilon,
                           MatrixView<float> y) {
  HACK_EXPECT(x.rows == y.rows && x.cols == y.cols);
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 2 * bytes_of(y)))
  for (index_t i = 0; i < x.rows; ++i) {
    const float mean = sum_of_squares(x.row(i), x.cols) / static_cast<float>(x.cols);
    scale_and_weigh(x.row(i), 1 / std::sqrt(mean + epsilon), weight, y.row(i), x.cols);
  }
}

template <>
void add_and_norm<Device::cpu>(Queue<Device::cpu>& queue, MatrixView<const float> y, MatrixView<float> x,
                               const float* weight, float epsilon, MatrixView<float> normed) {
  add<Device::cpu>(queue, y, x);
  rms_norm<Device::cpu>(queue, x, weight, epsilon, normed);
}

template <>
void swiglu<Device::cpu>(Queue<Device::cpu>& queue, MatrixView<const float> up, MatrixView<float> gate) {
  HACK_EXPECT(up.rows == gate.rows && up.cols == gate.cols);
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 2 * bytes_of(gate)))
  for (index_t i = 0; i < gate.rows; ++i) silu_multiply(gate.row(i), up.row(i), gate.cols);
}

template <>
void rope<Device::cpu>(Queue<Device::cpu>& queue, index_t head_dim, Position<Device::cpu> place,
                       const float* inverse_frequencies, MatrixView<float> x) {
  HACK_EXPECT(head_dim > 0 && head_dim % 2 == 0 && x.cols % head_dim == 0);
  const index_t half = head_dim / 2, first_position = value_of(place);
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 2 * bytes_of(x)))
  for (index_t t = 0; t < x.rows; ++t) {
    float* cosines = rotations.get(head_dim);
    float* sines = cosines + half;
    const auto position = static_cast<float>(first_position + t);
    for (index_t i = 0; i < half; ++i) {
      const float angle = position * inverse_frequencies[i];
      cosines[i] = std::cos(angle);
      sines[i] = std::sin(angle);
    }
    for (index_t first = 0; first < x.cols; first += head_dim) {
      float* low = x.row(t) + first;
      float* high = low + half;
      for (index_t i = 0; i < half; ++i) {
        const float a = low[i];
        const float b = high[i];
        low[i] = a * cosines[i] - b * sines[i];
        high[i] = b * cosines[i] + a * sines[i];
      }
    }
  }
}

template <>
void embed<Device::cpu>(Queue<Device::cpu>& queue, std::span<const int> ids, WeightView<> table, index_t first_id,
                        MatrixView<float> out) {
  HACK_EXPECT(out.rows == std::ssize(ids) && out.cols == table.cols);
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 2 * bytes_of(out)))
  for (index_t t = 0; t < out.rows; ++t) {
    const index_t row = ids[t] - first_id;
    if (row >= 0 && row < table.rows) {
      widen_row(table, row, 0, table.cols, out.row(t));
    } else {
      std::fill_n(out.row(t), out.cols, 0.0f);
    }
  }
}

template <>
void embed<Device::cpu>(Queue<Device::cpu>& queue, const DecodeState* state, WeightView<> table, index_t first_id,
                        MatrixView<float> out) {
  embed<Device::cpu>(queue, std::span<const int>(&state->id, 1), table, first_id, out);
}

}  // namespace hack::kernels
