#pragma once

#include "kernels/cuda/codec/plain.cuh"

namespace hack::kernels::cuda {

template <>
struct CodecOf<f16> : PlainCodec<f16, Codec::f16> {};

}  // namespace hack::kernels::cuda
