#pragma once

#include "kernels/cuda/codec/nibbles.cuh"

namespace hack::kernels::cuda {

/// A block of q5_1 without its scales.
struct Q5_1Codes : FiveBitBlock {};

template <>
struct CodecOf<Q5_1Codes> : NibbleCodec<Q5_1Codes, Codec::q5_1> {};

}  // namespace hack::kernels::cuda
