#include "model/llama/memory_need.hpp"

#include <algorithm>

#include "model/llama/chunk.hpp"
#include "model/llama/linear_layer.hpp"
#include "model/llama/names.hpp"
#include "model/llama/shard_plan.hpp"

namespace hack::model {
namespace {

constexpr index_t panel_rows = 256;  // that are read at once
// Of the loss: logits of one task (256 tokens, 384 ids) and the packed panel of a product, each thread; two numbers for
// each token and 384 ids.
constexpr index_t task_numbers = 256 * 384 + 192 * 320;
constexpr index_t vocabulary_block = 384;

double bytes(index_t numbers, index_t size) { return static_cast<double>(numbers) * static_cast<double>(size); }

/// A part of a matrix of the checkpoint, as read_weights() holds it.
double matrix_bytes(const RunShape& run, const std::string& name, index_t rows, svd::Range cols) {
  if (run.stored == nullptr) return bytes(rows * cols.size(), size_of(run.type));
  const Codec codec = held_codec(*run.stored, name, cols, {});
  return bytes(rows, code_bytes(codec, cols.size()) + scale_bytes(codec, cols.size()));
}

/// The MLP's terms as FactoredMatrix holds them.
double term_bytes(const RunShape& run, index_t numbers) {
  const bool is_as_stored = has_scales(run.factors) || run.stored != nullptr;
  return *run.mlp_keep * bytes(numbers, size_of(is_as_stored ? plain_type(run.factors) : run.type));
}

/// What a rank holds of the tensors of a layer: norms and biases in f32.
void add_layer(const LlamaConfig& config, const ShardPlan& plan, const RunShape& run, index_t layer, MemoryNeed& need) {
  for (const LayerTensor& tensor : layer_tensors) {
    const index_t rows = plan.own(tensor.rows, config, layer).size();
    const svd::Range cols = plan.own(tensor.cols, config, layer);
    const Linear* linear = std::get_if<Linear>(&tensor.which);
    if (tensor.has_bias(config)) need.weights += bytes(rows, 4);
    if (!tensor.has_weight(config)) continue;
    if (linear == nullptr) {
      need.weights += bytes(rows * cols.size(), 4);
      continue;
    }
    const bool is_compressed = is_mlp(*linear) && run.mlp_keep;
    const double matrix = is_compressed ? term_bytes(run, rows * cols.size())
                                        : matrix_bytes(run, weight_name(layer, *linear), rows, cols);
    need.weights += matrix;
    if (is_mlp(*linear)) need.mlp += matrix;
  }
}

}  // namespace

MemoryNeed memory_need(const LlamaConfig& config, const RunShape& run, int tensor, int rank) {
  const ShardPlan plan = ShardPlan::make(config, nullptr, tensor, rank);
  const index_t size = size_of(run.type), hidden = config.hidden_size;
  const index_t heads = plan.heads.size() * config.head_dim, kv = plan.kv_heads.size() * config.head_dim;
  MemoryNeed need;
  need.weights = bytes(hidden, 4) + matrix_bytes(run, embedding_name, plan.vocabulary.size(), {0, hidden});
  if (!config.tied_embeddings) need.weights += matrix_bytes(run, head_name, plan.vocabulary.size(), {0, hidden});
  index_t widest = 0;
  for (index_t layer = 0; layer < config.layers; ++layer) {
    add_layer(config, plan, run, layer, need);
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
