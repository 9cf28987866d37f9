#pragma once

#include "kernels/cuda/codec/bf16.cuh"
#include "kernels/cuda/codec/f16.cuh"
#include "kernels/cuda/codec/f32.cuh"
#include "kernels/cuda/codec/int8.cuh"

/// LIST(X, W) for the type W of each codec's codes: the kernels that a codec needs.
#define HACK_FOR_EACH_CODEC(LIST, X) LIST(X, float) LIST(X, bf16) LIST(X, f16) LIST(X, std::int8_t)

namespace hack::kernels::cuda {

/// A weight matrix (rows, cols) in device memory.
template <class W>
struct Weights {
  const W* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t ld = 0;
  const std::byte* scales = nullptr;

  HACK_BODY const W* row(index_t i) const { return data + i * ld; }
  template <class Exec>
  HACK_BODY float scale(Exec& exec, index_t i) const {
    return CodecOf<W>::scale(exec, scales, i);
  }
};

/// Left or right rows of all tiles of a factored matrix.
template <class W>
struct Factors {
  const W* codes = nullptr;
  const std::byte* scales = nullptr;
};

/// Calls visit.operator()<W>() for the type of the codec's codes.
template <class Visit>
void with_codec(Codec codec, const Visit& visit) {
#define HACK_VISIT(X, W) \
  if (codec == CodecOf<W>::codec) visit.template operator()<W>();
  HACK_FOR_EACH_CODEC(HACK_VISIT, )
#undef HACK_VISIT
}

}  // namespace hack::kernels::cuda
