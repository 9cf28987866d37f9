#pragma once

#include "kernels/cuda/codec/blocks.cuh"

namespace hack::kernels::cuda {

/// A block of 64 numbers of two bits: numbers i, i + 16, i + 32 and i + 48 in byte i.
struct alignas(16) Q2_64Codes {
  std::uint32_t words[4];
};

/// The same with a third bit: number i's is bit i of the last two words.
struct Q3_64Codes {
  std::uint32_t words[6];
};

/// The levels of a codec, a byte each: registers, not memory, hold them.
constexpr std::uint64_t levels_in_bytes(Codec codec) {
  std::uint64_t bytes = 0;
  const auto levels = spec_of(codec).levels;
  for (std::size_t q = levels.size(); q > 0; --q) bytes = bytes << 8 | static_cast<std::uint8_t>(levels[q - 1]);
  return bytes;
}

/// Codecs of two or three bits with ShiftedScale.
template <class W, Codec which>
struct ShiftedCodec : BlockCodec<W, which> {
  /// Codes of a run, a byte each, and what makes numbers of them.
  struct Run {
    std::uint32_t words[4];
    float d;
    float minimum;
  };
  static constexpr bool has_third_bits = sizeof(W) == sizeof(Q3_64Codes);
  static constexpr std::uint64_t levels = levels_in_bytes(which);

  template <class Exec>
  HACK_BODY static Run load(Exec& exec, const W& block, const std::byte* scales, int part) {
    Run run;
    if constexpr (has_third_bits) {
      HACK_UNROLL
      for (int i = 0; i < 4; ++i) run.words[i] = block.words[i];
    } else {
      exec.load16(block.words, run.words);
    }
    HACK_UNROLL
    for (int i = 0; i < 4; ++i) {
      run.words[i] = run.words[i] >> (2 * part) & 0x03030303u;
      if constexpr (has_third_bits) {
        // Four bits, one to each byte: shifted copies of them do not meet.
        const std::uint32_t four = block.words[4 + part / 2] >> (run_length * (part % 2) + 4 * i) & 15u;
        run.words[i] |= (four * 0x00204081u & 0x01010101u) << 2;
      }
    }
    // ShiftedScale::from() is the host's.
    const std::uint16_t bits = reinterpret_cast<const f16*>(scales)->bits;
    run.d = exec.widen(f16{static_cast<std::uint16_t>(bits & ShiftedScale::d_bits)}) * (1.0f / ShiftedScale::unit);
    run.minimum = run.d * static_cast<float>((bits & 31) - 32 * (bits >> 15));
    return run;
  }

  template <class Exec>
  HACK_BODY static float number(Exec& /*exec*/, const Run& run, int q) {
    const int code = code_of<std::uint8_t>(run.words, q);
    return fmaf(run.d, static_cast<float>(static_cast<std::int8_t>(levels >> (8 * code))), run.minimum);
  }
};

template <>
struct CodecOf<Q3_64Codes> : ShiftedCodec<Q3_64Codes, Codec::q3_64> {};

template <>
struct CodecOf<Q2_64Codes> : ShiftedCodec<Q2_64Codes, Codec::q2_64> {};

}  // namespace hack::kernels::cuda
