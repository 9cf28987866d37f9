#include <algorithm>
#include <limits>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/checkpoint/llama_config.hpp"

namespace hack::model {

namespace {

index_t need_integer(const GgufFile& file, const char* key) {
  const std::optional<std::int64_t> value = file.find_integer(key);
  validate(value.has_value(), "cannot use {} (it has no metadata key '{}')", file.path(), key);
  return *value;
}

/// Rows of the embedding table; files without tensors still know their tokens.
index_t vocabulary(const GgufFile& file) {
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr) return std::ssize(file.strings("tokenizer.ggml.tokens"));
  return embedding->dims.size() >= 2 ? embedding->dims[1] : 1;
}

RopeScaling read_rope(const GgufFile& file) {
  RopeScaling out;
  out.theta = file.find_number("llama.rope.freq_base").value_or(out.theta);
  // Files from before the typed keys have only the factor of linear scaling.
  const bool typed = file.has("llama.rope.scaling.type");
  const std::string type = file.find_string("llama.rope.scaling.type").value_or("linear");
  validate(type == "none" || type == "linear",
           "cannot use {} (llama.rope.scaling.type is '{}'; none and linear are supported)", file.path(), type);
  if (type == "none") return out;
  const char* key = typed ? "llama.rope.scaling.factor" : "llama.rope.scale_linear";
  validate(!typed || file.has(key), "cannot use {} (it has no metadata key '{}')", file.path(), key);
  out.factor = file.find_number(key).value_or(1.0);
  if (out.factor != 1.0) out.type = RopeType::linear;
  return out;
}

/// Llama 3.1 and later: the converter has computed the divisors from the llama3 rule.
std::vector<float> read_rope_factors(const GgufFile& file, index_t head_dim) {
  const GgufTensor* tensor = file.find_tensor("rope_freqs.weight");
  if (tensor == nullptr) return {};
  validate(tensor->dims.size() == 1 && tensor->dims[0] == head_dim / 2,
           "cannot use {} (tensor 'rope_freqs.weight' is not a vector of {} numbers, half of the head dimension)",
           file.path(), head_dim / 2);
  std::vector<float> out(static_cast<std::size_t>(head_dim / 2));
  dequantize(tensor->type, file.tensor_bytes(*tensor).data(), 0, head_dim / 2, out.data());
  return out;
}

}  // namespace

LlamaConfig llama_config_from_gguf(const GgufFile& file) {
  const std::string architecture = file.find_string("general.architecture").value_or("");
  validate(architecture == "llama", "cannot use {} (general.architecture is '{}'; llama is supported)", file.path(),
           architecture);
  validate(file.find_integer("llama.expert_count").value_or(0) == 0,
           "cannot use {} (it is a mixture of experts; dense Llama models are supported)", file.path());
  validate(file.find_integer("split.count").value_or(1) <= 1,
           "cannot use {} (it is one part of a split model) merge the parts first, for example with llama-gguf-split",
           file.path());

  LlamaConfig out;
  out.hidden_size = need_integer(file, "llama.embedding_length");
  out.intermediate_size = need_integer(file, "llama.feed_forward_length");
  out.layers = need_integer(file, "llama.block_count");
  out.heads = need_integer(file, "llama.attention.head_count");
  out.kv_heads = file.find_integer("llama.attention.head_count_kv").value_or(out.heads);
  out.context_length = need_integer(file, "llama.context_length");
  const std::optional<double> epsilon = file.find_number("llama.attention.layer_norm_rms_epsilon");
  validate(epsilon.has_value(), "cannot use {} (it has no metadata key 'llama.attention.layer_norm_rms_epsilon')",
           file.path());
  out.rms_norm_eps = static_cast<float>(*epsilon);
  const std::optional<std::int64_t> head_dim = file.find_integer("llama.attention.key_length");
  validate(
      head_dim || (out.heads >= 1 && out.hidden_size % out.heads == 0),
      "cannot use {} (llama.embedding_length {} is not a multiple of llama.attention.head_count {}, and there is no "
      "llama.attention.key_length)",
      file.path(), out.hidden_size, out.heads);
  out.head_dim = head_dim ? *head_dim : out.hidden_size / out.heads;
  for (const char* key : {"llama.attention.value_length", "llama.rope.dimension_count"}) {
    const index_t length = file.find_integer(key).value_or(out.head_dim);
    validate(length == out.head_dim, "cannot use {} ({} is {}, the head dimension {} expected)", file.path(), key,
             length, out.head_dim);
  }
  out.vocab_size = vocabulary(file);
  out.tied_embeddings = file.find_tensor("output.weight") == nullptr;
  out.attention_bias = file.find_tensor("blk.0.attn_q.bias") != nullptr;
  out.mlp_bias = file.find_tensor("blk.0.ffn_gate.bias") != nullptr;
  out.rope = read_rope(file);
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const std::optional<std::int64_t> id = file.find_integer(key);
    if (!id) continue;
    validate(*id >= 0 && *id < out.vocab_size && *id <= std::numeric_limits<int>::max(),
             "cannot use {} ({} is {}, outside the vocabulary of {})", file.path(), key, *id, out.vocab_size);
    const int token = static_cast<int>(*id);
    if (std::find(out.eos_ids.begin(), out.eos_ids.end(), token) == out.eos_ids.end()) out.eos_ids.push_back(token);
  }
  check(out, file.path());
  out.rope_factors = read_rope_factors(file, out.head_dim);
  check(out, file.path());
  return out;
}

}  // namespace hack::model
