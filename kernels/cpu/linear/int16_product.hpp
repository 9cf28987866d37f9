#pragma once

#include <cstdint>

#include "kernels/cpu/linear/gemm.hpp"

namespace hack::kernels {

/// Whether this CPU multiplies many tokens with this codec's codes as integers of 16 bits: a codec with scales and
/// AVX2's vectors, of which vpmaddwd takes twice as many numbers as an f32 product. Wider f32 vectors are as fast.
bool has_int16_product(Codec codec);

/// The rows of x (m, k) rounded to 16 bits, d q in blocks of 32 numbers with d = max |x| / 32767, by all threads of a
/// queue. A block's codes are followed by d and by d Σ q, two floats. They lie in working memory of the calling thread,
/// until it makes others.
class Int16Rows {
 public:
  /// Rows at a time that for_each_rounded_block() takes.
  static constexpr index_t chunk = 512;
  /// Places in a row that 32 numbers of x take.
  static constexpr index_t block = 36;

  Int16Rows(Queue<Device::cpu>& queue, MatrixView<const float> x);
  /// (m, blocks of k * block)
  MatrixView<const std::int16_t> view() const { return view_; }

 private:
  MatrixView<std::int16_t> view_;
};

/// y = x wᵀ, or y += x wᵀ, on the calling thread; x rows of Int16Rows, w (n, k), y (m, n). Codes are multiplied with
/// codes exactly, the sums of blocks are f32: beside the rounding of x, at most d/2 of each number, errors are those of
/// f32. An element's bits depend on its row of x and of w alone.
void multiply_transposed_int16(MatrixView<const std::int16_t> x, WeightView<> w, MatrixView<float> y, Write write);

/// The same over all threads of the queue, of x in f32.
void share_transposed_int16(Queue<Device::cpu>& queue, MatrixView<const float> x, WeightView<> w, MatrixView<float> y,
                            Write write);

}  // namespace hack::kernels
