#pragma once

#include "kernels/cuda/codec/nibbles.cuh"

namespace hack::kernels::cuda {

/// A block of q4_0 without its scale.
struct Q4_0Codes : NibbleBlock {};

template <>
struct CodecOf<Q4_0Codes> : NibbleCodec<Q4_0Codes, Codec::q4_0> {};

}  // namespace hack::kernels::cuda
