#include "kernels/linear.hpp"

#include <algorithm>

#include <omp.h>

#include "kernels/cpu/linear/bf16_product.hpp"
#include "kernels/cpu/linear/few_product.hpp"
#include "kernels/cpu/linear/int16_product.hpp"
#include "kernels/cpu/linear/matvec.hpp"
#include "kernels/cpu/team.hpp"

namespace hack::kernels {

namespace {

using X = MatrixView<const float>;
using Y = MatrixView<float>;

/// Rows of w go over the threads in contiguous shares of whole cache lines of y.
void linear_few(Queue<Device::cpu>& queue, X x, WeightView<> w, Y y, Write write) {
  constexpr index_t line = 16;
#pragma omp parallel num_threads(team_size(queue, w.rows* code_bytes(w.codec, w.cols)))
  {
    const index_t part = omp_get_thread_num(), parts = omp_get_num_threads();
    const auto start = [&](index_t p) { return std::min(w.rows, (w.rows * p / parts + line - 1) / line * line); };
    const index_t first = start(part), rows = start(part + 1) - first;
    if (rows > 0) few_product(queue, w.codec)(x, w.rows_from(first, rows), y.block(0, first, y.rows, rows), write);
  }
}

}  // namespace

template <>
void linear<Device::cpu>(Queue<Device::cpu>& queue, X x, WeightView<> w, Y y, Write write) {
  HACK_EXPECT(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows);
  if (y.rows == 0 || y.cols == 0) return;
  if (x.rows <= few_tokens) {
    linear_few(queue, x, w, y, write);
  } else if (queue.products() == Products::fast && has_int16_product(w.codec)) {
    share_transposed_int16(queue, x, w, y, write);
  } else {
    share_transposed(queue, queue.threads(), x, w, y, write, is_multiplied_in_bf16(queue, w.codec));
  }
}

template <>
void add_bias<Device::cpu>(Queue<Device::cpu>& queue, const float* bias, Y y) {
#pragma omp parallel for schedule(static) num_threads(team_size(queue, y.rows* y.cols * 4))
  for (index_t i = 0; i < y.rows; ++i) {
    float* row = y.row(i);
    for (index_t j = 0; j < y.cols; ++j) row[j] += bias[j];
  }
}

}  // namespace hack::kernels
