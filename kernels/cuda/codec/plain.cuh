#pragma once

#include <cstring>

#include "kernels/codec.hpp"
#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

/// What kernels ask of the codec whose codes are of type W, one number's, or a whole block's (codecs.cuh lists the
/// codecs; blocks.cuh says what is asked where there are blocks). `scales` is a matrix's or tile's, row after row, and
/// `row` counts there.
template <class W>
struct CodecOf;

/// Of plain numbers, which tensor cores multiply as they are.
template <class W, Codec which>
struct PlainCodec {
  static constexpr Codec codec = which;
  static constexpr int block = 1;             ///< numbers of a W
  static constexpr bool scales_rows = false;  ///< whether rows have one scale each, to be multiplied with sums
  using Operand = W;                          ///< what tensor cores multiply, or float

  template <class Exec>
  HACK_BODY static float widen(Exec& exec, W code) {
    return exec.widen(code);
  }
  template <class Exec>
  HACK_BODY static Operand operand(Exec& /*exec*/, W code) {
    return code;
  }
  template <class Exec>
  HACK_BODY static float scale(Exec& /*exec*/, const std::byte* /*scales*/, index_t /*row*/) {
    return 1;
  }
};

/// Code q of a load of 16 bytes.
template <class W>
HACK_BODY W code_of(const std::uint32_t (&words)[4], int q) {
  constexpr int in_word = 4 / static_cast<int>(sizeof(W));
  if constexpr (sizeof(W) == 4) {
    W code;
    memcpy(&code, &words[q], 4);
    return code;
  } else if constexpr (sizeof(W) == 2) {
    return W{static_cast<std::uint16_t>(words[q / in_word] >> (16 * (q % in_word)))};
  } else {
    return static_cast<W>(words[q / in_word] >> (8 * (q % in_word)));
  }
}

/// Byte q of a load as a float: the last bits of 2^23 plus it, from which 2^23 + `zero` is taken away, which is exact.
/// Two instructions of full rate; conversions of integers take a quarter of it.
HACK_BODY float float_of_byte(const std::uint32_t (&words)[4], int q, float zero = 0) {
  constexpr std::uint32_t two_to_23 = 0x4b000000u;
#if defined(__CUDACC__)
  return __uint_as_float(__byte_perm(words[q / 4], two_to_23, 0x7650u | static_cast<unsigned>(q % 4))) -
         (8388608.0f + zero);
#else
  const std::uint32_t bits = two_to_23 | (words[q / 4] >> (8 * (q % 4)) & 0xffu);
  float sum;
  memcpy(&sum, &bits, 4);
  return sum - (8388608.0f + zero);
#endif
}

/// Byte q as a float, of four numbers with signs in a word: their top bits count 128 the other way.
HACK_BODY float float_of_signed_byte(const std::uint32_t (&words)[4], int q) {
  const std::uint32_t turned[4] = {words[0] ^ 0x80808080u, words[1] ^ 0x80808080u, words[2] ^ 0x80808080u,
                                   words[3] ^ 0x80808080u};
  return float_of_byte(turned, q, 128);
}

}  // namespace hack::kernels::cuda
