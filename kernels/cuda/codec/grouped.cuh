#pragma once

#include "kernels/cuda/codec/blocks.cuh"

namespace hack::kernels::cuda {

/// 16 where words can be loaded four at a time, else what a run's length allows.
constexpr std::size_t run_alignment(int bits) { return bits == 4 ? 16 : bits == 6 ? 8 : 4; }

/// 32 numbers of four, five or six bits: i and i + 16 in the low and high half of byte i; then fifth bits, number i's
/// is bit i; or two more bits each, numbers i, i + 8 and so on share byte i.
template <int bits>
struct alignas(run_alignment(bits)) CodeRun {
  std::uint32_t words[bits];
};

/// Codes of a block of 256 with groups.
template <int bits>
struct GroupedCodes {
  CodeRun<bits> runs[8];
};

/// Scales of q5_k's and q4_k's groups: d and d', then 8 + 8 numbers of six bits (kernels/cpu/codec/codec.cpp).
template <class W, Codec which>
struct GroupedCodec : AffineCodec<W, which> {
  using Run = SharedRun;

  template <class Exec>
  HACK_BODY static Run load(Exec& exec, const W& block, const std::byte* scales, int part) {
    Run run;
    const int group = part / 2;
    load_shared<BlockCodec<W, which>::bits>(exec, block.runs[group], part % 2, run.words);
    const auto* halves = reinterpret_cast<const f16*>(scales);
    const auto* small_words = reinterpret_cast<const std::uint32_t*>(scales) + 1;
    const std::uint32_t words[3] = {exec.weight(small_words[0]), exec.weight(small_words[1]),
                                    exec.weight(small_words[2])};
    const int byte = 8 * (group % 4);
    const auto small = [&](std::uint32_t own, int last) {
      return static_cast<float>(group < 4 ? own >> byte & 63u
                                          : (words[2] >> (byte + last) & 15u) | (own >> (byte + 6) & 3u) << 4);
    };
    run.d = exec.widen(exec.weight(halves[0])) * small(words[0], 0);
    run.minimum = -(exec.widen(exec.weight(halves[1])) * small(words[1], 4));
    return run;
  }
};

struct Q4KCodes : GroupedCodes<4> {};
template <>
struct CodecOf<Q4KCodes> : GroupedCodec<Q4KCodes, Codec::q4_k> {};

struct Q5KCodes : GroupedCodes<5> {};
template <>
struct CodecOf<Q5KCodes> : GroupedCodec<Q5KCodes, Codec::q5_k> {};

struct Q6KCodes : GroupedCodes<6> {};
template <>
struct CodecOf<Q6KCodes> : AffineCodec<Q6KCodes, Codec::q6_k> {
  using Run = SharedRun;
  static constexpr float zero = static_cast<float>(spec_of(Codec::q6_k).zero);

  template <class Exec>
  HACK_BODY static Run load(Exec& exec, const Q6KCodes& block, const std::byte* scales, int part) {
    Run run;
    const CodeRun<6>& codes = block.runs[part / 2];
    const int half = part % 2;
    HACK_UNROLL
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t two = exec.weight(codes.words[4 + i % 2]) >> (4 * half + 2 * (i / 2)) & 0x03030303u;
      run.words[i] = (exec.weight(codes.words[i]) >> (4 * half) & 0x0f0f0f0fu) | two << 4;
    }
    const float d = exec.widen(exec.weight(*reinterpret_cast<const f16*>(scales + 16)));
    run.d = d * static_cast<float>(exec.weight(reinterpret_cast<const std::int8_t*>(scales)[part]));
    run.minimum = -zero * run.d;
    return run;
  }
};

}  // namespace hack::kernels::cuda
