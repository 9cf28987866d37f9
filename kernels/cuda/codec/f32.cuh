#pragma once

#include "kernels/cuda/codec/plain.cuh"

namespace hack::kernels::cuda {

template <>
struct CodecOf<float> : PlainCodec<float, Codec::f32> {};

}  // namespace hack::kernels::cuda
