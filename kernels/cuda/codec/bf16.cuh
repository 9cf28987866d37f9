#pragma once

#include "kernels/cuda/codec/plain.cuh"

namespace hack::kernels::cuda {

template <>
struct CodecOf<bf16> : PlainCodec<bf16, Codec::bf16> {};

}  // namespace hack::kernels::cuda
