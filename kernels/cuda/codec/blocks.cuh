#pragma once

#include "kernels/cuda/codec/plain.cuh"

namespace hack::kernels::cuda {

/// In place of an operand of tensor cores: numbers that are widened to f32 and multiplied in two narrow parts.
struct Widened {};

/// Numbers of a block that a thread takes at once.
constexpr int run_length = 16;

/// What codecs with blocks along a row have in common; W is a block's codes. For the rest, such a codec has
///
///     struct Run                                 what run_length numbers need: their codes, their block's scales
///     Run load(exec, block, scales, part)        the part-th run of a block, whose scales lie at `scales`
///     float number(exec, run, q)                 its q-th number
template <class W, Codec which>
struct BlockCodec {
  static constexpr Codec codec = which;
  static constexpr int block = static_cast<int>(spec_of(which).block);
  static constexpr int bytes_of_scales = static_cast<int>(spec_of(which).scale_bytes);
  static constexpr bool scales_rows = false;
  using Operand = Widened;
  static_assert(block % run_length == 0 && sizeof(W) == block * spec_of(which).code_bits / 8);
};

}  // namespace hack::kernels::cuda
