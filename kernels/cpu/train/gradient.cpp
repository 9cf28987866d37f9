#include "kernels/gradient.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/cpu/linear/bf16_product.hpp"
#include "kernels/cpu/linear/gemm.hpp"
#include "kernels/cpu/train/gradient_rows.hpp"
#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/cpu/team.hpp"

namespace hack::kernels {
namespace {

using X = MatrixView<const float>;
using Y = MatrixView<float>;
using FactorTiles = std::span<const FactorTile<Device::cpu>>;

thread_local Scratch transposed;  // (out, tokens) of a whole gradient, or (rows of dR, h) of a tile

/// Numbers from one row of a transpose to the next, so that rows do not share cache sets.
index_t stride_of(index_t cols) { return (cols + 15) / 16 * 16 + 16; }

index_t bytes_of(X x) { return x.rows * x.cols * static_cast<index_t>(sizeof(float)); }

WeightView<> weights(X x) { return {x.data, Codec::f32, x.rows, x.cols, x.ld}; }

bool is_narrow(DType rounded) {
  HACK_EXPECT(rounded == DType::f32 || rounded == DType::bf16);
  return rounded == DType::bf16 && has_bf16_product();
}

/// Threads for a product of a and b.
int product_team(const Queue<Device::cpu>& queue, X a, X b, X y) {
  return team_size(queue, bytes_of(a) + bytes_of(b) + bytes_of(y));
}

/// y = x b over all threads.
void share_product(Queue<Device::cpu>& queue, X x, X b, Y y, DType rounded) {
  const int threads = product_team(queue, x, b, y);
  if (is_narrow(rounded)) {
    for_each_rounded_block<RoundedRows>(queue, threads, x, y, [&](MatrixView<const bf16> left, index_t col, Y out) {
      multiply_bf16(best_bf16_unit(), left, b.block(0, col, b.rows, out.cols), out, Write::replace);
    });
    return;
  }
  for_each_block(threads, y.rows, y.cols, [&](index_t row, index_t rows, index_t col, index_t cols) {
    multiply(x.rows_from(row, rows), b.block(0, col, b.rows, cols), y.block(row, col, rows, cols), Write::replace);
  });
}

/// Some rows of one product with the factors of a tile, the work of one thread.
struct ProductRows {
  enum class Product : std::uint8_t { tile, left_gradient, right_gradient };
  std::size_t tile = 0;
  Product product = Product::tile;
  index_t first = 0;
  index_t rows = 0;
};

thread_local std::vector<ProductRows> row_tasks;  // kept, so that a call in a loop allocates nothing

void list_rows(std::size_t tile, ProductRows::Product product, index_t rows) {
  constexpr index_t most_rows = 256;  // a usual tile is one task; several threads share a large one
  for (index_t first = 0; first < rows; first += most_rows) {
    row_tasks.push_back({tile, product, first, std::min(most_rows, rows - first)});
  }
}

void multiply_rows(const FactorTile<Device::cpu>& tile, const ProductRows& task, Y w) {
  multiply(tile.left.rows_from(task.first, task.rows), tile.right,
           w.block(tile.row + task.first, tile.col, task.rows, tile.right.cols), Write::replace);
}

void differentiate_rows(const FactorTile<Device::cpu>& tile, const ProductRows& task, X dw) {
  const X gradient = dw.block(tile.row, tile.col, tile.left.rows, tile.right.cols);
  if (task.product == ProductRows::Product::left_gradient) {
    multiply_transposed(gradient.rows_from(task.first, task.rows), weights(tile.right),
                        tile.left_gradient.rows_from(task.first, task.rows), Write::replace);
    return;
  }
  const index_t h = tile.left.rows;
  const Y left{transposed.get(task.rows * stride_of(h)), task.rows, h, stride_of(h)};
  transpose(tile.left.block(0, task.first, h, task.rows), left);
  multiply(left, gradient, tile.right_gradient.rows_from(task.first, task.rows), Write::replace);
}

}  // namespace

template <>
void layer_output<Device::cpu>(Queue<Device::cpu>& queue, X x, X w, Y y, DType rounded) {
  HACK_EXPECT(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows);
  share_transposed(queue, product_team(queue, x, w, y), x, weights(w), y, Write::replace, is_narrow(rounded));
}

template <>
void weight_gradient<Device::cpu>(Queue<Device::cpu>& queue, X dy, X x, Y dw, DType rounded) {
  HACK_EXPECT(dy.rows == x.rows && dw.rows == dy.cols && dw.cols == x.cols);
  const index_t ld = stride_of(dy.rows);
  const Y turned{transposed.get(dy.cols * ld), dy.cols, dy.rows, ld};
  constexpr index_t strip = 64;
  const index_t strips = (dy.cols + strip - 1) / strip;
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 2 * bytes_of(dy)))
  for (index_t s = 0; s < strips; ++s) {
    const index_t first = s * strip;
    const index_t cols = std::min(strip, dy.cols - first);
    transpose(dy.block(0, first, dy.rows, cols), turned.rows_from(first, cols));
  }
  share_product(queue, turned, x, dw, rounded);
}

template <>
void input_gradient<Device::cpu>(Queue<Device::cpu>& queue, X dy, X w, Y dx, DType rounded) {
  HACK_EXPECT(dy.cols == w.rows && dx.rows == dy.rows && dx.cols == w.cols);
  share_product(queue, dy, w, dx, rounded);
}

template <>
void swiglu_into<Device::cpu>(Queue<Device::cpu>& queue, X gate, X up, Y out) {
  HACK_EXPECT(gate.rows == out.rows && gate.cols == out.cols && up.rows == out.rows && up.cols == out.cols);
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 3 * bytes_of(out)))
  for (index_t i = 0; i < out.rows; ++i) silu_product(gate.row(i), up.row(i), out.row(i), out.cols);
}

template <>
void swiglu_gradient<Device::cpu>(Queue<Device::cpu>& queue, X dout, Y gate, Y up) {
  HACK_EXPECT(gate.rows == dout.rows && gate.cols == dout.cols && up.rows == dout.rows && up.cols == dout.cols);
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 3 * bytes_of(dout)))
  for (index_t i = 0; i < dout.rows; ++i) silu_product_gradient(dout.row(i), gate.row(i), up.row(i), dout.cols);
}

template <>
void output_error<Device::cpu>(Queue<Device::cpu>& queue, X target, const float* weights, float factor, Y y,
                               float* squares) {
  HACK_EXPECT(target.rows == y.rows && target.cols == y.cols);
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 2 * bytes_of(y)))
  for (index_t i = 0; i < y.rows; ++i) {
    const float weight = weights == nullptr ? 1.0f : weights[i];
    squares[i] = weight * scaled_difference(target.row(i), weight * factor, y.row(i), y.cols);
  }
}

template <>
void multiply_factors<Device::cpu>(Queue<Device::cpu>& queue, FactorTiles tiles, Y w) {
  row_tasks.clear();
  for (std::size_t t = 0; t < tiles.size(); ++t) list_rows(t, ProductRows::Product::tile, tiles[t].left.rows);
  const std::vector<ProductRows>& shared = row_tasks;  // the caller's, for all threads
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t p = 0; p < shared.size(); ++p) multiply_rows(tiles[shared[p].tile], shared[p], w);
}

template <>
void factor_gradients<Device::cpu>(Queue<Device::cpu>& queue, X dw, FactorTiles tiles) {
  row_tasks.clear();
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    list_rows(t, ProductRows::Product::left_gradient, tiles[t].left_gradient.rows);
    list_rows(t, ProductRows::Product::right_gradient, tiles[t].right_gradient.rows);
  }
  const std::vector<ProductRows>& shared = row_tasks;  // the caller's, for all threads
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t p = 0; p < shared.size(); ++p) differentiate_rows(tiles[shared[p].tile], shared[p], dw);
}

template <>
void adam<Device::cpu>(Queue<Device::cpu>& queue, const AdamStep& step, const float* gradient, float* mean,
                       float* square, float* x, index_t n) {
  HACK_EXPECT(step.number >= 1);
  const AdamFactors factors{
      .rate = static_cast<float>(step.rate / (1 - std::pow(step.mean_decay, step.number))),
      .root_scale = static_cast<float>(1 / std::sqrt(1 - std::pow(step.square_decay, step.number))),
      .epsilon = static_cast<float>(step.epsilon),
      .mean_decay = static_cast<float>(step.mean_decay),
      .mean_gain = static_cast<float>(1 - step.mean_decay),
      .square_decay = static_cast<float>(step.square_decay),
      .square_gain = static_cast<float>(1 - step.square_decay)};
  constexpr index_t piece = 16 * 1024;
  const index_t count = (n + piece - 1) / piece;
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 4 * n * static_cast <index_t>(sizeof(float))))
  for (index_t p = 0; p < count; ++p) {
    const index_t first = p * piece;
    adam_update(factors, gradient + first, mean + first, square + first, x + first, std::min(piece, n - first));
  }
}

}  // namespace hack::kernels
