#pragma once

#include "kernels/affine.hpp"
#include "kernels/attention.hpp"

namespace hack::kernels {

/// What makes queries, keys and values of one token's x: the matrices (q: heads * head_dim rows, k and v: kv_heads *
/// head_dim) and their biases, the rotation by the position, and where keys and values go.
template <Device D>
struct HeadProjection {
  AffineView<D> q, k, v;
  Position<D> position = 0;
  const float* inverse_frequencies = nullptr;  // (head_dim / 2)
  CacheView<D> keys, values;
};

/// Writes rope(q(x)) to `queries` (1, heads * head_dim) and appends rope(k(x)) and v(x) to the cache, as affine(),
/// rope() and append_to_cache() do, with their bits, in one launch. False, and nothing done, where the device has no
/// such launch: on CPUs, for more tokens than one, for matrices in tiles, of different codecs or of odd shapes.
template <Device D>
bool project_heads(Queue<D>& queue, MatrixView<const float, D> x, const HeadProjection<D>& projection,
                   MatrixView<float, D> queries);

template <>
inline bool project_heads<Device::cpu>(Queue<Device::cpu>& /*queue*/, MatrixView<const float> /*x*/,
                                       const HeadProjection<Device::cpu>& /*projection*/,
                                       MatrixView<float> /*queries*/) {
  return false;
}

}  // namespace hack::kernels
