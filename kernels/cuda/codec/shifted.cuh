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

/// Codecs of two or three bits with ShiftedScale.
template <class W, Codec which>
struct ShiftedCodec : BlockCodec<W, which> {
  using Run = SharedRun;
  static constexpr std::uint64_t levels = eight_levels(which, 0);  // registers, not memory, hold them

  template <class Exec>
  HACK_BODY static Run load(Exec& exec, const W& block, const std::byte* scales, int part) {
    Run run;
    load_shared<BlockCodec<W, which>::bits>(exec, block, part, run.words);
    // ShiftedScale::from() is the host's.
    const std::uint16_t bits = exec.weight(*reinterpret_cast<const f16*>(scales)).bits;
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
