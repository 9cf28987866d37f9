#pragma once

#include <span>

#include "kernels/decode_state.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

/// Keys or values of one layer on one rank: (kv_heads, capacity, head_dim), head after head.
template <Device D>
struct CacheView {
  float* data = nullptr;
  index_t kv_heads = 0;
  index_t capacity = 0;
  index_t head_dim = 0;
  index_t window = 0;      ///< of keys: positions that a query sees, its own included; 0: all up to its own
  float score_factor = 1;  ///< of keys: scores are multiplied by it

  float* head(index_t h) const { return data + h * capacity * head_dim; }
};

/// Appends rows (tokens, kv_heads * head_dim) to the cache from `position` on.
template <Device D>
void append_to_cache(Queue<D>& queue, MatrixView<const float, D> rows, Position<D> position, CacheView<D> cache);

/// Causal attention of query heads over the cache, which already holds positions 0 … position + tokens - 1:
///
///     out[t, h] = softmax(score_factor q[t, h] · Kᵀ / sqrt(head_dim)) V   over positions 0 … position + t
///
/// of which a window leaves the last ones. q and out (tokens, heads * head_dim); kv_of_head[h] is the cache head that
/// query head h reads. Works in blocks of queries: no (tokens, tokens) matrix is ever in memory. Bits do not depend on
/// the number of threads.
template <Device D>
void attention(Queue<D>& queue, MatrixView<const float, D> q, CacheView<D> keys, CacheView<D> values,
               std::span<const int> kv_of_head, Position<D> position, MatrixView<float, D> out);

}  // namespace hack::kernels
