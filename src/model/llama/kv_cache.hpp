#pragma once

#include <algorithm>
#include <vector>

#include "kernels/attention.hpp"

namespace hack::model {

/// Keys and values of one sequence on one rank, for all layers; f32.
template <Device D>
class KvCache {
 public:
  KvCache(index_t layers, index_t kv_heads, index_t capacity, index_t head_dim)
      : kv_heads_(kv_heads), capacity_(capacity), head_dim_(head_dim) {
    for (index_t i = 0; i < layers; ++i) {
      keys_.emplace_back(kv_heads * capacity * head_dim);
      values_.emplace_back(kv_heads * capacity * head_dim);
    }
  }

  /// Positions filled so far, the same in every layer once a forward pass is over.
  index_t length() const { return length_; }
  index_t capacity() const { return capacity_; }
  void advance(index_t tokens) { length_ += tokens; }
  /// Forgets everything, keeps the memory.
  void clear() { length_ = 0; }
  /// Forgets the positions from this one on, where there are any.
  void shorten(index_t length) { length_ = std::min(length_, length); }

  kernels::CacheView<D> keys(index_t layer) { return {keys_[layer].data(), kv_heads_, capacity_, head_dim_}; }
  kernels::CacheView<D> values(index_t layer) { return {values_[layer].data(), kv_heads_, capacity_, head_dim_}; }

 private:
  index_t kv_heads_;
  index_t capacity_;
  index_t head_dim_;
  index_t length_ = 0;
  std::vector<Buffer<float, D>> keys_;    // layers × (kv_heads, capacity, head_dim)
  std::vector<Buffer<float, D>> values_;  // layers × (kv_heads, capacity, head_dim)
};

}  // namespace hack::model
