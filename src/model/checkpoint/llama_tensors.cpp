#include "model/checkpoint/llama_tensors.hpp"

#include "model/llama/names.hpp"

namespace hack::model {

std::vector<TensorSpec> llama_tensors(const LlamaConfig& config) {
  std::vector<TensorSpec> out;
  const auto matrix = [&](std::string name, index_t rows, index_t cols, const char* from) {
    out.push_back({std::move(name), rows, cols, false, from});
  };
  const auto vector = [&](std::string name, index_t n, const char* from) {
    out.push_back({std::move(name), 1, n, true, from});
  };
  const auto linear = [&](const std::string& name, index_t rows, index_t cols, bool bias, const char* from) {
    matrix(name + ".weight", rows, cols, from);
    if (bias) vector(name + ".bias", rows, from);
  };
  const index_t hidden = config.hidden_size;
  const index_t queries = config.heads * config.head_dim;
  const index_t keys = config.kv_heads * config.head_dim;

  matrix(embedding_name, config.vocab_size, hidden, "vocabulary × hidden size");
  for (index_t layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = layer_prefix(layer);
    vector(prefix + "input_layernorm.weight", hidden, "hidden size");
    linear(prefix + "self_attn.q_proj", queries, hidden, config.attention_bias, "heads · head dimension × hidden size");
    linear(prefix + "self_attn.k_proj", keys, hidden, config.attention_bias,
           "key/value heads · head dimension × hidden size");
    linear(prefix + "self_attn.v_proj", keys, hidden, config.attention_bias,
           "key/value heads · head dimension × hidden size");
    linear(prefix + "self_attn.o_proj", hidden, queries, config.attention_bias, "hidden size × heads · head dimension");
    vector(prefix + "post_attention_layernorm.weight", hidden, "hidden size");
    linear(prefix + "mlp.gate_proj", config.intermediate_size, hidden, config.mlp_bias,
           "intermediate size × hidden size");
    linear(prefix + "mlp.up_proj", config.intermediate_size, hidden, config.mlp_bias,
           "intermediate size × hidden size");
    linear(prefix + "mlp.down_proj", hidden, config.intermediate_size, config.mlp_bias,
           "hidden size × intermediate size");
  }
  vector(final_norm_name, hidden, "hidden size");
  if (!config.tied_embeddings) matrix(head_name, config.vocab_size, hidden, "vocabulary × hidden size");
  return out;
}

}  // namespace hack::model
