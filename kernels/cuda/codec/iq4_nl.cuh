#pragma once

#include "kernels/cuda/codec/nibbles.cuh"

namespace hack::kernels::cuda {

/// A block of iq4_nl without its scale.
struct Iq4NlCodes : NibbleBlock {};

template <>
struct CodecOf<Iq4NlCodes> : NibbleCodec<Iq4NlCodes, Codec::iq4_nl> {
  template <class Exec>
  HACK_BODY static float number(Exec& /*exec*/, const Run& run, int q) {
    const int code = code_of<std::uint8_t>(run.words, q);
    const std::uint64_t eight = code < 8 ? values(0) : values(8);
    return run.d * static_cast<float>(static_cast<std::int8_t>(eight >> (8 * (code & 7))));
  }

 private:
  /// Values [first, first + 8) of the table, a byte each: registers, not memory, hold them.
  HACK_BODY static constexpr std::uint64_t values(int first) {
    std::uint64_t bytes = 0;
    for (int q = 7; q >= 0; --q) {
      bytes = bytes << 8 | static_cast<std::uint8_t>(iq4_nl_values[static_cast<std::size_t>(first + q)]);
    }
    return bytes;
  }
};

}  // namespace hack::kernels::cuda
