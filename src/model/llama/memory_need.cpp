#include "model/llama/memory_need.hpp"

#include <algorithm>

#include "model/llama/shard_plan.hpp"

namespace hack::model {
namespace {

constexpr index_t chunk_tokens = 512;  // that go through the layers at once
constexpr index_t panel_rows = 256;    // that are read at once
// Of the loss: logits of one task (256 tokens, 384 ids) and the packed panel of a product, each thread; two numbers for
// each token and 384 ids.
constexpr index_t task_numbers = 256 * 384 + 192 * 320;
constexpr index_t vocabulary_block = 384;

double bytes(index_t numbers, index_t size) { return static_cast<double>(numbers) * static_cast<double>(size); }

}  // namespace

MemoryNeed memory_need(const LlamaConfig& config, const RunShape& run, int tensor, int rank) {
  const ShardPlan plan = ShardPlan::make(config, nullptr, tensor, rank);
  const index_t size = size_of(run.type), hidden = config.hidden_size;
  const index_t heads = plan.heads.size() * config.head_dim, kv = plan.kv_heads.size() * config.head_dim;
  MemoryNeed need;
  const index_t tables = config.tied_embeddings ? 1 : 2;
  need.weights = bytes(tables * plan.vocabulary.size() * hidden, size) + bytes(hidden, 4);
  index_t widest = 0;
  for (const svd::Range& intermediate : plan.intermediate) {
    need.weights += bytes((2 * heads + 2 * kv) * hidden, size) + bytes(2 * hidden, 4);
    need.weights += run.mlp_keep * bytes(3 * intermediate.size() * hidden, size);
    widest = std::max(widest, intermediate.size());
  }
  need.cache = bytes(2 * config.layers * kv * run.context, 4);
  const index_t tokens = std::min(chunk_tokens, run.context);
  // Stream, states, normed, sum of a block; q, mixed; k, v; gate, up.
  index_t numbers = tokens * (4 * hidden + 2 * heads + 2 * kv + 2 * widest);
  if (tensor > 1) numbers += tokens * hidden;  // MPI's own copy of what is summed
  numbers += run.threads * task_numbers + 2 * tokens * (plan.vocabulary.size() / vocabulary_block + 1);
  need.activations = bytes(numbers, 4);
  need.loading = bytes(panel_rows * std::max({hidden, heads, widest}), 4 + size);
  return need;
}

MemoryNeed largest_need(const LlamaConfig& config, const RunShape& run, int tensor) {
  MemoryNeed largest;
  for (int rank = 0; rank < tensor; ++rank) {
    const MemoryNeed need = memory_need(config, run, tensor, rank);
    if (need.total() > largest.total()) largest = need;
  }
  return largest;
}

}  // namespace hack::model
