#include "model/llama/llama_layer.hpp"

#include "model/llama/names.hpp"

namespace hack::model {
namespace {

using svd::Range;

Range scaled(Range heads, index_t head_dim) { return {heads.begin * head_dim, heads.end * head_dim}; }

}  // namespace

template <Device D>
LlamaLayer<D> read_layer(const WeightSource& source, const ShardPlan& plan, index_t layer, bool adds_bias) {
  const LlamaConfig& config = source.checkpoint.config();
  const std::string prefix = layer_prefix(layer);
  const Range hidden = {0, config.hidden_size};
  const Range q_rows = scaled(plan.heads, config.head_dim);
  const Range kv_rows = scaled(plan.kv_heads, config.head_dim);
  const Range inner = plan.intermediate[layer];
  const bool attention_bias = config.attention_bias;
  const bool mlp_bias = config.mlp_bias;
  return {
      .input_norm = read_vector<D>(source.checkpoint, prefix + "input_layernorm.weight", hidden),
      .q = {source, prefix + "self_attn.q_proj", q_rows, hidden, attention_bias},
      .k = {source, prefix + "self_attn.k_proj", kv_rows, hidden, attention_bias},
      .v = {source, prefix + "self_attn.v_proj", kv_rows, hidden, attention_bias},
      .o = {source, prefix + "self_attn.o_proj", hidden, q_rows, attention_bias && adds_bias},
      .post_attention_norm = read_vector<D>(source.checkpoint, prefix + "post_attention_layernorm.weight", hidden),
      .gate = {source, prefix + "mlp.gate_proj", inner, hidden, mlp_bias},
      .up = {source, prefix + "mlp.up_proj", inner, hidden, mlp_bias},
      .down = {source, prefix + "mlp.down_proj", hidden, inner, mlp_bias && adds_bias},
  };
}

template LlamaLayer<Device::cpu> read_layer(const WeightSource&, const ShardPlan&, index_t, bool);
template LlamaLayer<Device::cuda> read_layer(const WeightSource&, const ShardPlan&, index_t, bool);

}  // namespace hack::model
