#pragma once

#include <functional>
#include <span>
#include <vector>

#include "model/llama/llama.hpp"
#include "model/llama/sampler.hpp"

namespace hack::model {

/// When to stop.
struct GenerateOptions {
  index_t max_tokens = 0;
  std::vector<int> stop_ids;  ///< generation ends in front of one of these; empty: only max_tokens counts
  bool may_end = false;       ///< whether on_token may end it, at the price of a broadcast a token
};

struct Generated {
  std::vector<int> ids;        ///< new ids, the same on every rank, without the one that ended it
  double prefill_seconds = 0;  ///< the prompt, up to the first new id
  double decode_seconds = 0;   ///< the ids after the first
};

/// Continues `prompt` (at least one id). Rank 0 chooses, the others follow. on_token is called with each new id; where
/// it returns false on rank 0, and options.may_end, that was the last one.
template <Device D>
Generated generate(Llama<D>& llama, std::span<const int> prompt, const GenerateOptions& options, Sampler& sampler,
                   const std::function<bool(int)>& on_token);

}  // namespace hack::model
