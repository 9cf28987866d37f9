#include "model/llama/memory_need.hpp"

#include <algorithm>

#include "model/llama/chunk.hpp"
#include "model/llama/shard_plan.hpp"

namespace hack::model {
namespace {

constexpr index_t panel_rows = 256;  // that are read at once
// Of the loss: logits of one task (256 tokens, 384 ids) and the packed panel of a product, each thread; two numbers for
// each token and 384 ids.
constexpr index_t task_numbers = 256 * 384 + 192 * 320;
constexpr index_t vocabulary_block = 384;

double bytes(index_t numbers, index_t size) { return static_cast<double>(numbers) * static_cast<double>(size); }

/// What a rank holds of the tensors of a layer: norms and biases in f32, matrices in the type of the run, factors as
/// FactoredMatrix has them.
double layer_bytes(const LlamaConfig& config, const ShardPlan& plan, const RunShape& run, index_t layer) {
  const index_t size = size_of(has_scales(run.factors) ? plain_type(run.factors) : run.type);
  double sum = 0;
  for (const LayerTensor& tensor : layer_tensors) {
    const index_t rows = plan.own(tensor.rows, config, layer).size();
    const index_t cols = plan.own(tensor.cols, config, layer).size();
    const Linear* linear = std::get_if<Linear>(&tensor.which);
    if (tensor.has_bias(config)) sum += bytes(rows, 4);
    if (!tensor.has_weight(config)) continue;
    if (linear != nullptr && is_mlp(*linear)) {
      sum += run.mlp_keep * bytes(rows * cols, size);
    } else {
      sum += bytes(rows * cols, tensor.is_vector() ? 4 : size_of(run.type));
    }
  }
  return sum;
}

}  // namespace

MemoryNeed memory_need(const LlamaConfig& config, const RunShape& run, int tensor, int rank) {
  const ShardPlan plan = ShardPlan::make(config, nullptr, tensor, rank);
  const index_t size = size_of(run.type), hidden = config.hidden_size;
  const index_t heads = plan.heads.size() * config.head_dim, kv = plan.kv_heads.size() * config.head_dim;
  MemoryNeed need;
  const index_t tables = config.tied_embeddings ? 1 : 2;
  need.weights = bytes(tables * plan.vocabulary.size() * hidden, size) + bytes(hidden, 4);
  index_t widest = 0;
  for (index_t layer = 0; layer < config.layers; ++layer) {
    need.weights += layer_bytes(config, plan, run, layer);
    widest = std::max(widest, plan.own(Extent::intermediate, config, layer).size());
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
