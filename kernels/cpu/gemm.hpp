#pragma once

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

/// multiply_transposed(), or where the CPU can and w is in bf16 multiply_transposed_bf16(), which rounds x to bf16.
void multiply_weights(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write);

/// y = x b, or y += x b, on the calling thread; x (m, k), b (k, n), y (m, n). Bits as above.
void multiply(MatrixView<const float> x, MatrixView<const float> b, MatrixView<float> y, Write write);

/// What a sum of nothing leaves in y; true if there is nothing more to do.
bool finish_empty(index_t depth, MatrixView<float> y, Write write);

/// The length of passes over k: as many as `longest` asks for, of equal length, but for the last multiples of 16.
constexpr index_t pass_depth(index_t k, index_t longest) {
  const index_t passes = (k + longest - 1) / longest;
  return passes == 0 ? 0 : ((k + passes - 1) / passes + 15) / 16 * 16;
}

/// Rows of w and rows of x of one task such that `threads` threads have several tasks each, or as many as there can be.
struct TaskShape {
  index_t tokens;
  index_t outputs;
};
TaskShape task_shape(index_t tokens, index_t outputs, int threads);

}  // namespace hack::kernels
