#pragma once

#include <cstdint>

#include "kernels/cpu/linear/gemm.hpp"

namespace hack::kernels {

/// What multiplies pairs of bf16 numbers. Sums differ in their last bits from one to the other.
enum class Bf16Unit : std::uint8_t {
  avx512,  ///< AVX512_BF16
  amx      ///< AMX-BF16, on CPUs that have AVX512_BF16 as well
};
bool has_bf16_unit(Bf16Unit unit);

/// Whether this CPU has one, and the fastest it has.
bool has_bf16_product();
Bf16Unit best_bf16_unit();

/// Whether this CPU has a unit and a queue multiplies many tokens with weights of this codec there: weights in bf16,
/// and under Products::fast codes, which have no more digits than bf16 or little more. What is not bf16 is rounded, as
/// x is.
bool is_multiplied_in_bf16(const Queue<Device::cpu>& queue, Codec codec);

/// y = x wᵀ, or y += x wᵀ, on the calling thread; x (m, k), w (n, k) in bf16, or widened and then rounded; sums are
/// f32. An element's bits depend on its row of x and of w alone, as those of multiply_transposed() do. Needs the unit.
void multiply_transposed_bf16(Bf16Unit unit, MatrixView<const bf16> x, WeightView<> w, MatrixView<float> y,
                              Write write);

/// y = x b, or y += x b, on the calling thread; x (m, k), b (k, n) rounded to bf16, y (m, n). Bits as above.
void multiply_bf16(Bf16Unit unit, MatrixView<const bf16> x, MatrixView<const float> b, MatrixView<float> y,
                   Write write);

/// to[i] = from[i], or from[i] * scale[i], rounded to nearest, ties to even, below 2⁻¹²⁶ to zero. Needs a unit.
void round_row(const float* from, index_t n, bf16* to);
void scale_and_round(const float* from, const float* scale, index_t n, bf16* to);

/// The rows of a matrix rounded to bf16, to nearest, by all threads of a queue: a product that needs them many times
/// reads half the bytes and rounds nothing. Needs a unit. They lie in working memory of the calling thread, until it
/// makes others.
class RoundedRows {
 public:
  /// Rows at a time that for_each_rounded_block() takes.
  static constexpr index_t chunk = 512;

  RoundedRows(Queue<Device::cpu>& queue, MatrixView<const float> x);
  MatrixView<const bf16> view() const { return view_; }

 private:
  MatrixView<bf16> view_;
};

/// y = x wᵀ, or y += x wᵀ, over `threads` threads of the queue: with x, and w where it is in f32, rounded to bf16,
/// which needs a unit, or not.
void share_transposed(Queue<Device::cpu>& queue, int threads, MatrixView<const float> x, WeightView<> w,
                      MatrixView<float> y, Write write, bool rounds);

}  // namespace hack::kernels
