#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"
#include "model/checkpoint/json_object.hpp"

namespace hack::model {

namespace {

RopeType rope_type(const JsonObject& rope) {
  const std::string name = rope.find_string("rope_type").value_or(rope.find_string("type").value_or("default"));
  if (name == "default") return RopeType::none;
  if (name == "linear") return RopeType::linear;
  if (name == "dynamic") return RopeType::dynamic;
  if (name == "yarn") return RopeType::yarn;
  if (name == "llama3") return RopeType::llama3;
  fail("cannot use {} (rope type '{}'; default, linear, dynamic, yarn and llama3 are supported)", rope.where(), name);
}

/// What yarn multiplies cosines and sines by where the file does not say: Peng et al., YaRN (2023), equation 22.
double yarn_attention_factor(const JsonObject& rope, double factor) {
  if (const auto given = rope.find_number("attention_factor")) return *given;
  const auto scale_of = [&](double weight) { return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0; };
  const double some = rope.find_number("mscale").value_or(0), all = rope.find_number("mscale_all_dim").value_or(0);
  return some != 0 && all != 0 ? scale_of(some) / scale_of(all) : scale_of(1);
}

void read_yarn(const JsonObject& rope, RopeScaling& out) {
  const auto given = [&](const char* key, double otherwise) {
    const double number = rope.find_number(key).value_or(0);
    return number == 0 ? otherwise : number;
  };
  out.beta_fast = given("beta_fast", out.beta_fast);
  out.beta_slow = given("beta_slow", out.beta_slow);
  out.truncates = rope.find_bool("truncate").value_or(true);
  out.attention_factor = yarn_attention_factor(rope, out.factor);
}

/// transformers up to 4 writes rope_theta beside rope_scaling, transformers 5 both into rope_parameters; of both it
/// takes rope_scaling.
RopeScaling read_rope(const JsonObject& json, LlamaConfig& config) {
  RopeScaling out;
  out.theta = json.find_number("rope_theta").value_or(out.theta);
  const std::optional<JsonObject> parameters = json.find_object("rope_parameters");
  std::optional<JsonObject> rope = json.find_object("rope_scaling");
  if (rope && parameters) {
    config.warnings.push_back(
        json.where() + " has both rope_scaling and rope_parameters; rope_scaling is taken, as transformers does");
  }
  if (!rope) rope = parameters;
  validate(json.find_number("partial_rotary_factor").value_or(1.0) == 1.0 &&
               (!rope || rope->find_number("partial_rotary_factor").value_or(1.0) == 1.0),
           "cannot use {} (partial_rotary_factor is not 1; only heads turned as a whole are supported)", json.where());
  if (!rope) return out;
  out.type = rope_type(*rope);
  for (const RopeField& field : rope_fields()) {
    const std::string key(field.hf);
    if (field.from == RopeType::none) {
      out.*field.member = rope->find_number(key).value_or(out.*field.member);
    } else if (out.type >= field.from) {
      out.*field.member = rope->number(key);
    }
  }
  if (out.type < RopeType::dynamic) return out;
  const char* const key = "original_max_position_embeddings";
  out.original_context = config.context_length;
  if (out.type != RopeType::dynamic) {  // transformers looks beside the rule first
    out.original_context = json.find_integer(key).value_or(rope->find_integer(key).value_or(out.original_context));
  }
  if (out.type == RopeType::yarn) read_yarn(*rope, out);
  return out;
}

const Architecture& architecture_of(const JsonObject& json) {
  const std::string name = json.find_string("model_type").value_or("");
  for (const Architecture& architecture : architectures()) {
    if (architecture.hf == name) return architecture;
  }
  fail("cannot use {} (model_type is '{}'; {} supported)", json.where(), name, architecture_names());
}

/// Whatever its tensors look like: their numbers are codes.
void refuse_quantised(const JsonObject& json) {
  const std::optional<JsonObject> how = json.find_object("quantization_config");
  if (!how) return;
  std::string method = how->find_string("quant_method").value_or("a method that it does not name");
  if (const auto bits = how->find_integer("bits")) method += ", " + std::to_string(*bits) + " bits";
  fail(
      "cannot use {} (its weights are quantised by {}, which this program does not read); give the model that they "
      "were made from, or a GGUF file",
      json.where(), method);
}

void check_parts(const JsonObject& json) {
  const std::string activation = json.find_string("hidden_act").value_or("silu");
  validate(activation == "silu", "cannot use {} (hidden_act is '{}'; silu is supported)", json.where(), activation);
}

/// Layers that see all come first where the file lists them.
index_t first_window_layer(const JsonObject& json, index_t layers) {
  const nlohmann::json* list = json.find("layer_types");
  if (list == nullptr) return json.find_integer("max_window_layers").value_or(28);
  index_t full = 0;
  bool is_mixed = !list->is_array() || std::ssize(*list) != layers;
  for (std::size_t i = 0; !is_mixed && i < list->size(); ++i) {
    const bool slides = (*list)[i] == "sliding_attention";
    is_mixed = !slides && ((*list)[i] != "full_attention" || full != static_cast<index_t>(i));
    if (!slides) ++full;
  }
  validate(!is_mixed,
           "cannot use {} (layer_types: for each layer full_attention, then from one on sliding_attention expected)",
           json.where());
  return full;
}

void read_window(const JsonObject& json, WindowRule rule, LlamaConfig& config) {
  const bool is_set = json.find_bool("use_sliding_window").value_or(false);
  validate(!is_set || rule != WindowRule::none,
           "cannot use {} (use_sliding_window is set, which its model_type has not)", json.where());
  if (rule == WindowRule::none || (rule == WindowRule::flagged && !is_set)) return;
  constexpr index_t usual = 4096;
  if (!json.has("sliding_window")) config.sliding_window = usual;
  if (const auto window = json.find_integer("sliding_window")) {
    validate(*window > 0, "cannot use {} (sliding_window is {})", json.where(), *window);
    config.sliding_window = *window;
  }
  if (rule == WindowRule::flagged && config.sliding_window > 0) {
    config.first_window_layer = first_window_layer(json, config.layers);
  }
}

/// transformers gives sizes that are left out other values in other families.
void check_sizes(const JsonObject& json, const Architecture& architecture) {
  if (architecture.hf == "llama") return;
  for (const char* key : {"num_key_value_heads", "head_dim"}) {
    const bool is_needed = std::string_view(key) != "head_dim" || architecture.hf == "qwen3";
    validate(!is_needed || json.find(key) != nullptr, "cannot use {} (it has no '{}')", json.where(), key);
  }
}

}  // namespace

LlamaConfig llama_config_from_hf(const JsonObject& json) {
  const Architecture& architecture = architecture_of(json);
  refuse_quantised(json);
  validate(json.find("hack_matrices") == nullptr,
           "cannot use {} (its compressed matrices are there as terms, for transformers); give the model and the "
           "archive that it was exported from",
           json.where());
  check_parts(json);
  check_sizes(json, architecture);
  LlamaConfig out;
  for (const SizeField& field : size_fields()) {
    const std::string key(field.hf);
    std::optional<index_t> size = json.find_integer(key);
    if (!size && field.hf_default != nullptr) {
      size = field.hf_default(out);
      validate(size.has_value(), "cannot use {} (it has no '{}', and its other sizes do not imply one)", json.where(),
               key);
    }
    out.*field.member = size ? *size : json.integer(key);
  }
  for (const NumberField& field : number_fields()) {
    const std::optional<double> number = json.find_number(std::string(field.hf));
    out.*field.member = number ? static_cast<float>(*number) : field.hf_default;
  }
  for (const FlagField& field : flag_fields()) {
    if (!field.hf.empty()) out.*field.member = json.find_bool(std::string(field.hf)).value_or(false);
  }
  out.attention_bias = out.attention_bias && architecture.reads_attention_bias;
  out.mlp_bias = out.mlp_bias && architecture.reads_mlp_bias;
  if (architecture.implies != nullptr) out.*architecture.implies = true;
  out.qkv_bias = out.qkv_bias || out.attention_bias;
  read_window(json, architecture.window, out);
  out.rope = read_rope(json, out);
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
