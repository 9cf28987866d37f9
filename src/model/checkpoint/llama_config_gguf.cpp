#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/error.hpp"
#include "model/checkpoint/config_fields.hpp"
#include "model/checkpoint/gguf_file.hpp"

namespace hack::model {

namespace {

/// What a file has under a key; an Error if it has nothing there.
template <class T>
T needed(const std::optional<T>& value, const GgufFile& file, const std::string& key) {
  validate(value.has_value(), "cannot use {} (it has no metadata key '{}')", file.path(), key);
  return *value;
}

/// Rows of the embedding table; files without tensors still know their tokens.
index_t vocabulary(const GgufFile& file) {
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr) return std::ssize(file.strings("tokenizer.ggml.tokens"));
  return embedding->dims.size() >= 2 ? embedding->dims[1] : 1;
}

void read_yarn(const GgufFile& file, const std::string& family, RopeScaling& out) {
  out.type = RopeType::yarn;
  const std::string key = family + "rope.scaling.";
  const std::string context = family + "context_length";
  out.original_context =
      needed(file.find_integer(file.has(key + "original_context_length") ? key + "original_context_length" : context),
             file, context);
  out.beta_fast = file.find_number(key + "yarn_beta_fast").value_or(out.beta_fast);
  out.beta_slow = file.find_number(key + "yarn_beta_slow").value_or(out.beta_slow);
  for (const char* name : {"yarn_log_multiplier", "yarn_ext_factor", "yarn_attn_factor"}) {
    validate(!file.has(key + name), "cannot use {} ({} is not supported)", file.path(), key + name);
  }
  // As llama.cpp has it: attn_factor beside the factor of the paper.
  const double scale = out.factor <= 1 ? 1.0 : 0.1 * std::log(out.factor) + 1.0;
  out.attention_factor = scale * file.find_number(key + "attn_factor").value_or(1.0);
}

RopeScaling read_rope(const GgufFile& file, const std::string& family) {
  RopeScaling out;
  out.theta = file.find_number(family + "rope.freq_base").value_or(out.theta);
  // Files from before the typed keys have only the factor of linear scaling.
  const std::string type_key = family + "rope.scaling.type";
  const bool typed = file.has(type_key);
  const std::string type = file.find_string(type_key).value_or("linear");
  validate(type == "none" || type == "linear" || type == "yarn",
           "cannot use {} ({} is '{}'; none, linear and yarn are supported)", file.path(), type_key, type);
  if (type == "none") return out;
  const std::string key = family + (typed ? "rope.scaling.factor" : "rope.scale_linear");
  validate(!typed || file.has(key), "cannot use {} (it has no metadata key '{}')", file.path(), key);
  out.factor = file.find_number(key).value_or(1.0);
  if (type == "yarn") {
    read_yarn(file, family, out);
  } else if (out.factor != 1.0) {
    out.type = RopeType::linear;
  }
  return out;
}

/// Llama 3.1 and later: the converter has computed the divisors from the llama3 rule.
std::vector<float> read_rope_factors(const GgufFile& file, index_t head_dim) {
  const GgufTensor* tensor = file.find_tensor("rope_freqs.weight");
  if (tensor == nullptr) return {};
  validate(tensor->dims.size() == 1 && tensor->dims[0] == head_dim / 2,
           "cannot use {} (tensor 'rope_freqs.weight' is not a vector of {} numbers, half of the head dimension)",
           file.path(), head_dim / 2);
  validate(!tensor->unknown_type, "cannot use {} (tensor 'rope_freqs.weight' is in {}, which is not read)", file.path(),
           ggml_type_name(tensor->unknown_type.value_or(0)));
  std::vector<float> out(static_cast<std::size_t>(head_dim / 2));
  dequantize(tensor->type, file.tensor_bytes(*tensor).data(), 0, head_dim / 2, out.data());
  return out;
}

/// What its metadata keys begin with: the architecture's name and a dot.
std::string family_of(const GgufFile& file) {
  const std::string family = std::string(architecture_of(file).gguf) + ".";
  validate(file.find_integer(family + "expert_count").value_or(0) == 0,
           "cannot use {} (it is a mixture of experts; dense Llama models are supported)", file.path());
  return family;
}

index_t read_size(const GgufFile& file, const std::string& family, const SizeField& field, const LlamaConfig& before) {
  if (field.gguf.empty()) return vocabulary(file);
  const std::string key = family + std::string(field.gguf);
  std::optional<index_t> size = file.find_integer(key);
  if (!size && field.gguf_default != nullptr) {
    size = field.gguf_default(before);
    validate(size.has_value(), "cannot use {} (it has no metadata key '{}', and its other sizes do not imply one)",
             file.path(), key);
  }
  return needed(size, file, key);
}

std::vector<int> read_eos_ids(const GgufFile& file, index_t vocab_size) {
  std::vector<int> out;
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const std::optional<std::int64_t> id = file.find_integer(key);
    if (!id) continue;
    validate(*id >= 0 && *id < vocab_size && *id <= std::numeric_limits<int>::max(),
             "cannot use {} ({} is {}, outside the vocabulary of {})", file.path(), key, *id, vocab_size);
    const int token = static_cast<int>(*id);
    if (std::find(out.begin(), out.end(), token) == out.end()) out.push_back(token);
  }
  return out;
}

}  // namespace

const Architecture& architecture_of(const GgufFile& file) {
  const std::string name = file.find_string("general.architecture").value_or("");
  for (const Architecture& architecture : architectures()) {
    if (architecture.gguf == name) return architecture;
  }
  fail("cannot use {} (general.architecture is '{}'; {} supported)", file.path(), name, architecture_names());
}

LlamaConfig llama_config_from_gguf(const GgufFile& file) {
  const std::string family = family_of(file);
  LlamaConfig out;
  for (const SizeField& field : size_fields()) out.*field.member = read_size(file, family, field, out);
  for (const NumberField& field : number_fields()) {
    const std::string key = family + std::string(field.gguf);
    out.*field.member = static_cast<float>(needed(file.find_number(key), file, key));
  }
  for (const FlagField& field : flag_fields()) {
    out.*field.member = (file.find_tensor(field.gguf_tensor) == nullptr) == field.if_absent;
  }
  out.sliding_window = file.find_integer(family + "attention.sliding_window").value_or(0);
  for (const char* name : {"attention.value_length", "rope.dimension_count"}) {
    const std::string key = family + name;
    const index_t length = file.find_integer(key).value_or(out.head_dim);
    validate(length == out.head_dim, "cannot use {} ({} is {}, the head dimension {} expected)", file.path(), key,
             length, out.head_dim);
  }
  out.rope = read_rope(file, family);
  out.eos_ids = read_eos_ids(file, out.vocab_size);
  check(out, file.path());
  out.rope_factors = read_rope_factors(file, out.head_dim);
  check(out, file.path());
  return out;
}

}  // namespace hack::model
