#pragma once

#include "kernels/cuda/codec/blocks.cuh"

namespace hack::kernels::cuda {

/// A block of q8_0 without its scale.
struct Q8_0Codes {
  std::int8_t numbers[32];
};

template <>
struct CodecOf<Q8_0Codes> : BlockCodec<Q8_0Codes, Codec::q8_0> {
  struct Run {
    std::uint32_t words[4];
    float scale;
  };

  template <class Exec>
  HACK_BODY static Run load(Exec& exec, const Q8_0Codes& block, const std::byte* scales, int part) {
    Run run;
    exec.load16(block.numbers + part * run_length, run.words);
    run.scale = exec.widen(exec.weight(*reinterpret_cast<const f16*>(scales)));
    return run;
  }

  template <class Exec>
  HACK_BODY static float number(Exec& /*exec*/, const Run& run, int q) {
    return run.scale * float_of_signed_byte(run.words, q);
  }
};

}  // namespace hack::kernels::cuda
