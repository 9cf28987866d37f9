#pragma once

#include "kernels/cuda/codec/bf16.cuh"
#include "kernels/cuda/codec/blocks.cuh"
#include "kernels/cuda/codec/f16.cuh"
#include "kernels/cuda/codec/f32.cuh"
#include "kernels/cuda/codec/grouped.cuh"
#include "kernels/cuda/codec/int8.cuh"
#include "kernels/cuda/codec/iq4_nl.cuh"
#include "kernels/cuda/codec/nibbles.cuh"
#include "kernels/cuda/codec/q8_0.cuh"
#include "kernels/cuda/codec/shifted.cuh"

/// LIST(X, W) for the type W of each codec's codes: the kernels that a codec needs; of terms' codecs alone, and of all.
#define HACK_FOR_EACH_TERM_CODEC(LIST, X) \
  LIST(X, float)                          \
  LIST(X, bf16)                           \
  LIST(X, f16)                            \
  LIST(X, std::int8_t)                    \
  LIST(X, Q8_0Codes)                      \
  LIST(X, Q5_1Codes)                      \
  LIST(X, Q5_0Codes) LIST(X, Q4_1Codes) LIST(X, Q4_0Codes) LIST(X, Iq4NlCodes) LIST(X, Q3_64Codes) LIST(X, Q2_64Codes)
#define HACK_FOR_EACH_CODEC(LIST, X) \
  HACK_FOR_EACH_TERM_CODEC(LIST, X) LIST(X, Q6KCodes) LIST(X, Q5KCodes) LIST(X, Q4KCodes)

namespace hack::kernels::cuda {

/// Whether a W is the codes of a block.
template <class W>
constexpr bool has_blocks = CodecOf<W>::block > 1;

/// A row from one of its numbers on, the first of a block where there are blocks; then with the scales from there on.
template <class W>
struct RowCodes {
  const W* codes = nullptr;
  const std::byte* scales = nullptr;

  RowCodes() = default;
  /// Rows whose codes and scales begin at `codes` and `scales`: from number `number` of all of them on.
  HACK_BODY RowCodes(const W* codes_, const std::byte* scales_, index_t number)
      : codes(codes_ + number / CodecOf<W>::block), scales(scales_) {
    if constexpr (has_blocks<W>) scales += number / CodecOf<W>::block * CodecOf<W>::bytes_of_scales;
  }
};

/// The run of numbers of a row from number `at` on, a multiple of run_length.
template <class W, class Exec>
HACK_BODY auto load_run(Exec& exec, const RowCodes<W>& row, int at) {
  using Codec = CodecOf<W>;
  const int block = at / Codec::block;
  return Codec::load(exec, row.codes[block], row.scales + block * Codec::bytes_of_scales,
                     at % Codec::block / run_length);
}

/// A weight matrix (rows, cols) in device memory.
template <class W>
struct Weights {
  const W* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t ld = 0;
  const std::byte* scales = nullptr;

  HACK_BODY RowCodes<W> row(index_t i, index_t first = 0) const { return {data, scales, i * ld + first}; }
  template <class Exec>
  HACK_BODY float scale(Exec& exec, index_t i) const {
    return CodecOf<W>::scale(exec, scales, i);
  }
};

/// Left or right rows of all tiles of a factored matrix.
template <class W>
struct Factors {
  const W* codes = nullptr;
  const std::byte* scales = nullptr;

  /// Of a tile's rows, from this number on; they start at number `at` of the codes and byte `scales_at` of the scales.
  HACK_BODY RowCodes<W> row(index_t at, index_t scales_at, index_t number) const {
    return {codes + at / CodecOf<W>::block, scales + scales_at, number};
  }
};

#define HACK_VISIT(X, W) \
  if (codec == CodecOf<W>::codec) visit.template operator()<W>();

/// Calls visit.operator()<W>() for the type of the codec's codes.
template <class Visit>
void with_codec(Codec codec, const Visit& visit) {
  HACK_FOR_EACH_CODEC(HACK_VISIT, )
}

/// The same of a codec of terms.
template <class Visit>
void with_term_codec(Codec codec, const Visit& visit) {
  HACK_FOR_EACH_TERM_CODEC(HACK_VISIT, )
}

#undef HACK_VISIT

}  // namespace hack::kernels::cuda
