#pragma once

#include "kernels/cuda/codec/nibbles.cuh"

namespace hack::kernels::cuda {

/// A block of q5_0 without its scale.
struct Q5_0Codes : FiveBitBlock {};

template <>
struct CodecOf<Q5_0Codes> : NibbleCodec<Q5_0Codes, Codec::q5_0> {};

}  // namespace hack::kernels::cuda
