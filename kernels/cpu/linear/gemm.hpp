#pragma once

#include <algorithm>

#include "kernels/linear.hpp"

namespace hack::kernels {

/// Blocks of the products: columns of y packed at once, and the largest part of k in one pass. A packed panel (half a
/// megabyte) stays in L2, a tile of x's rows in L1.
constexpr index_t gemm_panel = 384;
constexpr index_t gemm_depth = 320;

/// y = x wᵀ, or y += x wᵀ, on the calling thread; x (m, k), w (n, k) in any number type, y (m, n).
/// An element is summed over k in an order that depends on k alone: its bits are the same wherever the caller cuts x
/// and w into blocks of rows.
void multiply_transposed(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write);

/// y = x b, or y += x b, on the calling thread; x (m, k), b (k, n), y (m, n). Bits as above.
void multiply(MatrixView<const float> x, MatrixView<const float> b, MatrixView<float> y, Write write);

/// What a sum of nothing leaves in y; true if there is nothing more to do.
bool finish_empty(index_t depth, MatrixView<float> y, Write write);

/// The length of passes over k: as many as `longest` asks for, of equal length, but for the last multiples of `unit`,
/// which divides `longest`.
constexpr index_t pass_depth(index_t k, index_t longest, index_t unit) {
  const index_t passes = (k + longest - 1) / longest;
  return passes == 0 ? 0 : ((k + passes - 1) / passes + unit - 1) / unit * unit;
}

/// Rows of w and rows of x of one task such that `threads` threads have several tasks each, or as many as there can be.
struct TaskShape {
  index_t tokens;
  index_t outputs;
};
TaskShape task_shape(index_t tokens, index_t outputs, int threads);

/// Calls work(row, rows, col, cols) for blocks of a product (rows, cols), shared out over threads.
template <class Work>
void for_each_block(int threads, index_t rows, index_t cols, const Work& work) {
  const TaskShape shape = task_shape(rows, cols, threads);
  const index_t panels = (cols + shape.outputs - 1) / shape.outputs;
  const index_t tasks = panels * ((rows + shape.tokens - 1) / shape.tokens);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (index_t task = 0; task < tasks; ++task) {
    const index_t row = task / panels * shape.tokens;
    const index_t col = task % panels * shape.outputs;
    work(row, std::min(shape.tokens, rows - row), col, std::min(shape.outputs, cols - col));
  }
}

/// Numbers of two bytes from one rounded row to the next: whole lines of the cache, an odd number, so that rows do not
/// share its sets.
constexpr index_t rounded_stride(index_t cols) { return ((cols + 31) / 32 | 1) * 32; }

/// Calls work(rows of x rounded, col, block of y) for blocks of y (x.rows, y.cols), shared out over threads. Rows,
/// which rounds `Rows::chunk` rows of x at a time on the threads of the queue, is RoundedRows or Int16Rows.
template <class Rows, class Work>
void for_each_rounded_block(Queue<Device::cpu>& queue, int threads, MatrixView<const float> x, MatrixView<float> y,
                            const Work& work) {
  for (index_t first = 0; first < x.rows; first += Rows::chunk) {
    const index_t count = std::min(Rows::chunk, x.rows - first);
    const Rows rounded(queue, x.rows_from(first, count));
    for_each_block(threads, count, y.cols, [&](index_t row, index_t rows, index_t col, index_t cols) {
      work(rounded.view().rows_from(row, rows), col, y.block(first + row, col, rows, cols));
    });
  }
}

}  // namespace hack::kernels
