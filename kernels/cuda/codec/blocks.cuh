#pragma once

#include "kernels/cuda/codec/plain.cuh"

namespace hack::kernels::cuda {

/// In place of an operand of tensor cores: numbers that are widened to f32 and multiplied in two narrow parts.
struct Widened {};

/// Numbers of a block that a thread takes at once.
constexpr int run_length = 16;

/// Codes of a run, a byte each, and what makes numbers of them: what a code stands for, times d, plus the minimum.
struct SharedRun {
  std::uint32_t words[4];
  float d;
  float minimum;
};

/// Takes a run's codes out of words whose bytes hold an even number of bits of each code, those of numbers i, i + 16
/// and so on in byte i; a last odd bit follows in the words behind, number i's as bit i.
template <int bits, class Exec, class W>
HACK_BODY void load_shared(Exec& exec, const W& block, int part, std::uint32_t (&words)[4]) {
  constexpr int shared = bits / 2 * 2;
  constexpr std::uint32_t mask = 0x01010101u * ((1u << shared) - 1u);
  if constexpr (bits == shared) {
    exec.load16(block.words, words);
  } else {
    HACK_UNROLL
    for (int i = 0; i < 4; ++i) words[i] = exec.weight(block.words[i]);
  }
  HACK_UNROLL
  for (int i = 0; i < 4; ++i) {
    words[i] = words[i] >> (shared * part) & mask;
    if constexpr (bits != shared) {
      // Four bits, one to each byte: shifted copies of them do not meet.
      const std::uint32_t four = exec.weight(block.words[4 + part / 2]) >> (run_length * (part % 2) + 4 * i) & 15u;
      words[i] |= (four * 0x00204081u & 0x01010101u) << shared;
    }
  }
}

/// What codecs with blocks along a row have in common; W is a block's codes. For the rest, such a codec has
///
///     struct Run                                 what run_length numbers need: their codes, their block's scales
///     Run load(exec, block, scales, part)        the part-th run of a block, whose scales lie at `scales`
///     float number(exec, run, q)                 its q-th number
template <class W, Codec which>
struct BlockCodec {
  static constexpr Codec codec = which;
  static constexpr int block = static_cast<int>(spec_of(which).block);
  static constexpr int bits = static_cast<int>(spec_of(which).code_bits);
  static constexpr int bytes_of_scales = static_cast<int>(spec_of(which).scale_bytes);
  static constexpr bool scales_rows = false;
  using Operand = Widened;
  static_assert(block % run_length == 0 && sizeof(W) == block * spec_of(which).code_bits / 8);
};

/// Of unsigned codes that stand for themselves.
template <class W, Codec which>
struct AffineCodec : BlockCodec<W, which> {
  using Run = SharedRun;

  template <class Exec>
  HACK_BODY static float number(Exec& /*exec*/, const Run& run, int q) {
    return fmaf(run.d, float_of_byte(run.words, q), run.minimum);
  }
};

}  // namespace hack::kernels::cuda
