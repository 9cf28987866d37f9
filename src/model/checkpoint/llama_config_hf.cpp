#include <algorithm>
#include <limits>

#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"
#include "model/checkpoint/json_object.hpp"

namespace hack::model {

namespace {

RopeType rope_type(const JsonObject& rope) {
  const std::string name = rope.find_string("rope_type").value_or(rope.find_string("type").value_or("default"));
  if (name == "default") return RopeType::none;
  if (name == "linear") return RopeType::linear;
  if (name == "llama3") return RopeType::llama3;
  fail("cannot use {} (rope type '{}'; default, linear and llama3 are supported)", rope.where(), name);
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
  if (out.type != RopeType::llama3) return out;
  out.original_context =
      rope->find_integer("original_max_position_embeddings")
          .value_or(json.find_integer("original_max_position_embeddings").value_or(config.context_length));
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
  validate(!json.find_bool("use_sliding_window").value_or(false),
           "cannot use {} (use_sliding_window is set; only attention to all tokens before is supported)", json.where());
  validate(activation == "silu", "cannot use {} (hidden_act is '{}'; silu is supported)", json.where(), activation);
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
  if (architecture.implies != nullptr) out.*architecture.implies = true;
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
