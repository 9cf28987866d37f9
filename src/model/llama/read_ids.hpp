#pragma once

#include <algorithm>
#include <span>

#include "model/llama/chunk.hpp"
#include "model/llama/llama.hpp"

namespace hack::model {

/// Takes ids through a model in chunks of chunk_tokens and appends them to the cache. Returns the final normed state of
/// the last one (1, hidden), valid until the model's next call; empty where there are none. All ranks.
template <Device D>
MatrixView<const float, D> read_ids(Llama<D>& llama, std::span<const int> ids, KvCache<D>& cache) {
  MatrixView<const float, D> state;
  while (!ids.empty()) {
    const auto chunk = ids.first(std::min(ids.size(), static_cast<std::size_t>(chunk_tokens)));
    state = llama.last_state(chunk, cache);
    ids = ids.subspan(chunk.size());
  }
  return state;
}

}  // namespace hack::model
