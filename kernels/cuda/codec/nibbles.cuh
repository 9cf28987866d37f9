#pragma once

#include "kernels/cuda/codec/blocks.cuh"

namespace hack::kernels::cuda {

/// A block of 32 numbers of four bits: numbers i and i + 16 in the low and high half of byte i.
struct alignas(16) NibbleBlock {
  std::uint32_t words[4];
};

/// The same with a fifth bit: number i's is bit i of the last word.
struct FiveBitBlock {
  std::uint32_t words[5];
};

/// Codecs of four or five bits with d, and some with a minimum, in f16.
template <class W, Codec which>
struct NibbleCodec : AffineCodec<W, which> {
  using Run = SharedRun;
  static constexpr float zero = static_cast<float>(spec_of(which).zero);
  static constexpr bool has_minimum = spec_of(which).scale_bytes == 4;

  template <class Exec>
  HACK_BODY static Run load(Exec& exec, const W& block, const std::byte* scales, int part) {
    Run run;
    load_shared<BlockCodec<W, which>::bits>(exec, block, part, run.words);
    if constexpr (has_minimum) {
      const std::uint32_t both = exec.weight(*reinterpret_cast<const std::uint32_t*>(scales));
      run.d = exec.widen(f16{static_cast<std::uint16_t>(both)});
      run.minimum = exec.widen(f16{static_cast<std::uint16_t>(both >> 16)});
    } else {
      run.d = exec.widen(exec.weight(*reinterpret_cast<const f16*>(scales)));
      run.minimum = -zero * run.d;
    }
    return run;
  }
};

struct Q5_1Codes : FiveBitBlock {};
template <>
struct CodecOf<Q5_1Codes> : NibbleCodec<Q5_1Codes, Codec::q5_1> {};

struct Q5_0Codes : FiveBitBlock {};
template <>
struct CodecOf<Q5_0Codes> : NibbleCodec<Q5_0Codes, Codec::q5_0> {};

struct Q4_1Codes : NibbleBlock {};
template <>
struct CodecOf<Q4_1Codes> : NibbleCodec<Q4_1Codes, Codec::q4_1> {};

struct Q4_0Codes : NibbleBlock {};
template <>
struct CodecOf<Q4_0Codes> : NibbleCodec<Q4_0Codes, Codec::q4_0> {};

}  // namespace hack::kernels::cuda
