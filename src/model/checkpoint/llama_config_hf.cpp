#include <algorithm>
#include <limits>

#include "kernels/error.hpp"
#include "model/checkpoint/json_object.hpp"
#include "model/checkpoint/llama_config.hpp"

namespace hack::model {

namespace {

RopeType rope_type(const JsonObject& rope) {
  const std::string name = rope.find_string("rope_type").value_or(rope.find_string("type").value_or("default"));
  if (name == "default") return RopeType::none;
  if (name == "linear") return RopeType::linear;
  if (name == "llama3") return RopeType::llama3;
  fail("cannot use {} (rope type '{}'; default, linear and llama3 are supported)", rope.where(), name);
}

/// transformers up to 4 writes rope_theta beside rope_scaling, transformers 5 both into rope_parameters.
RopeScaling read_rope(const JsonObject& json, index_t context_length) {
  RopeScaling out;
  out.theta = json.find_number("rope_theta").value_or(out.theta);
  std::optional<JsonObject> rope = json.find_object("rope_parameters");
  if (!rope) rope = json.find_object("rope_scaling");
  validate(json.find_number("partial_rotary_factor").value_or(1.0) == 1.0 &&
               (!rope || rope->find_number("partial_rotary_factor").value_or(1.0) == 1.0),
           "cannot use {} (partial_rotary_factor is not 1; only heads turned as a whole are supported)", json.where());
  if (!rope) return out;
  out.type = rope_type(*rope);
  out.theta = rope->find_number("rope_theta").value_or(out.theta);
  if (out.type == RopeType::none) return out;
  out.factor = rope->number("factor");
  if (out.type == RopeType::linear) return out;
  out.low_freq_factor = rope->number("low_freq_factor");
  out.high_freq_factor = rope->number("high_freq_factor");
  out.original_context = rope->find_integer("original_max_position_embeddings")
                             .value_or(json.find_integer("original_max_position_embeddings").value_or(context_length));
  return out;
}

}  // namespace

LlamaConfig llama_config_from_hf(const JsonObject& json) {
  const std::string model = json.find_string("model_type").value_or("");
  validate(model == "llama", "cannot use {} (model_type is '{}'; llama is supported)", json.where(), model);
  const std::string activation = json.find_string("hidden_act").value_or("silu");
  validate(activation == "silu", "cannot use {} (hidden_act is '{}'; silu is supported)", json.where(), activation);

  LlamaConfig out;
  out.hidden_size = json.integer("hidden_size");
  out.intermediate_size = json.integer("intermediate_size");
  out.layers = json.integer("num_hidden_layers");
  out.heads = json.integer("num_attention_heads");
  out.kv_heads = json.find_integer("num_key_value_heads").value_or(out.heads);
  out.vocab_size = json.integer("vocab_size");
  // What a file may leave out has the value that transformers gives it.
  out.context_length = json.find_integer("max_position_embeddings").value_or(2048);
  out.rms_norm_eps = static_cast<float>(json.find_number("rms_norm_eps").value_or(1e-6));
  out.tied_embeddings = json.find_bool("tie_word_embeddings").value_or(false);
  out.attention_bias = json.find_bool("attention_bias").value_or(false);
  out.mlp_bias = json.find_bool("mlp_bias").value_or(false);
  const std::optional<std::int64_t> head_dim = json.find_integer("head_dim");
  if (!head_dim) {
    validate(out.heads >= 1 && out.hidden_size % out.heads == 0,
             "cannot use {} (hidden_size {} is not a multiple of num_attention_heads {}, and there is no head_dim)",
             json.where(), out.hidden_size, out.heads);
  }
  out.head_dim = head_dim ? *head_dim : out.hidden_size / out.heads;
  out.rope = read_rope(json, out.context_length);
  if (json.find("eos_token_id") != nullptr) {
    for (const std::int64_t id : json.integers("eos_token_id")) {
      validate(id >= 0 && id <= std::numeric_limits<int>::max(), "cannot use {} (eos_token_id {})", json.where(), id);
      out.eos_ids.push_back(static_cast<int>(id));
    }
  }
  check(out, json.where());
  return out;
}

}  // namespace hack::model
