#pragma once

#include "kernels/cpu/gemm.hpp"

namespace hack::kernels {

/// Whether this CPU multiplies pairs of bf16 numbers (AVX512_BF16).
bool has_bf16_product();

/// y = x wᵀ, or y += x wᵀ, on the calling thread; x (m, k) is rounded to bf16, w (n, k) is bf16 or f32 and then
/// rounded, too; sums are f32. An element's bits depend on its row of x and of w alone, as those of
/// multiply_transposed() do. Needs has_bf16_product().
void multiply_transposed_bf16(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write);

/// y = x b, or y += x b, of numbers rounded to bf16, on the calling thread; x (m, k), b (k, n), y (m, n). Bits as
/// above.
void multiply_bf16(MatrixView<const float> x, MatrixView<const float> b, MatrixView<float> y, Write write);

}  // namespace hack::kernels
