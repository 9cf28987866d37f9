#pragma once

#include "kernels/cuda/codec/nibbles.cuh"

namespace hack::kernels::cuda {

/// A block of iq4_nl without its scale.
struct Iq4NlCodes : NibbleBlock {};

template <>
struct CodecOf<Iq4NlCodes> : NibbleCodec<Iq4NlCodes, Codec::iq4_nl> {
  // Registers, not memory, hold them.
  static constexpr std::uint64_t low_values = eight_levels(Codec::iq4_nl, 0);
  static constexpr std::uint64_t high_values = eight_levels(Codec::iq4_nl, 8);

  template <class Exec>
  HACK_BODY static float number(Exec& /*exec*/, const Run& run, int q) {
    const int code = code_of<std::uint8_t>(run.words, q);
    const std::uint64_t eight = code < 8 ? low_values : high_values;
    return run.d * static_cast<float>(static_cast<std::int8_t>(eight >> (8 * (code & 7))));
  }
};

}  // namespace hack::kernels::cuda
