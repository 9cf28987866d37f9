#pragma once

#include "kernels/cuda/codec/nibbles.cuh"

namespace hack::kernels::cuda {

/// A block of q4_1 without its scales.
struct Q4_1Codes : NibbleBlock {};

template <>
struct CodecOf<Q4_1Codes> : NibbleCodec<Q4_1Codes, Codec::q4_1> {};

}  // namespace hack::kernels::cuda
