#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "kernels/dtype.hpp"

namespace hack::model {

class GgufFile;
class GgufWriter;
class JsonObject;

enum class RopeType { none, linear, dynamic, yarn, llama3 };

/// How the frequencies of the rotary embedding follow from theta. `factor` counts for all types but none, the original
/// context for the last three, low_freq_factor and high_freq_factor for llama3, what stands behind it for yarn.
struct RopeScaling {
  RopeType type = RopeType::none;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  index_t original_context = 8192;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double attention_factor = 1.0;  ///< by which cosines and sines are multiplied
  bool truncates = true;          ///< the ends of the ramp are whole numbers
};

/// The shape of a Llama and what else its forward pass needs to know. config_fields.hpp says of each field where files
/// have it.
struct LlamaConfig {
  index_t hidden_size = 0;
  index_t intermediate_size = 0;
  index_t layers = 0;
  index_t heads = 0;
  index_t kv_heads = 0;
  index_t head_dim = 0;
  index_t vocab_size = 0;
  index_t context_length = 0;
  float rms_norm_eps = 1e-6f;
  bool tied_embeddings = false;    ///< logits come from the embedding table; there is no lm_head.weight
  bool attention_bias = false;     ///< q, k, v and o have biases
  bool mlp_bias = false;           ///< gate, up and down have biases
  bool qkv_bias = false;           ///< q, k and v have biases (Qwen2; also where attention_bias is set)
  bool qk_norm = false;            ///< each head's queries and keys are normed before they turn (Qwen3)
  index_t sliding_window = 0;      ///< tokens that attention sees, the token itself included; 0: all before it
  index_t first_window_layer = 0;  ///< layers before it see all
  RopeScaling rope;
  std::vector<float> rope_factors;  ///< (head_dim / 2) divisors of the frequencies that a GGUF file brings; else empty
  std::vector<int> eos_ids;         ///< tokens that end a text
  std::vector<std::string> warnings;  ///< what of the file contradicts itself, and how it was read
};

/// The window of a layer; 0: none.
inline index_t window_of(const LlamaConfig& config, index_t layer) {
  return layer < config.first_window_layer ? 0 : config.sliding_window;
}

/// By what scores of the attention are multiplied beside 1 / sqrt(head_dim): queries and keys bring attention_factor
/// each.
inline float score_factor(const LlamaConfig& config) {
  const double factor = config.rope.type == RopeType::yarn ? config.rope.attention_factor : 1.0;
  return static_cast<float>(factor * factor);
}

/// Checks that texts of so many tokens can be run: an Error where frequencies would have to change with the length
/// (dynamic beyond the original context).
void check_length(const LlamaConfig& config, index_t tokens);

/// Frequencies of the rotary embedding (head_dim / 2), in f32 and in the order of operations of transformers 5:
/// f_i = 1 / theta^(2i / head_dim); linear: f_i / factor; llama3: wavelengths 2π / f_i above original_context /
/// low_freq_factor are slowed down by factor, those below original_context / high_freq_factor stay, the ones between
/// are blended; yarn: those that turn less than beta_slow times in the original context are slowed down, those that
/// turn more than beta_fast times stay, with a ramp over the dimensions between; dynamic: f_i up to the original
/// context. Where rope_factors are given, f_i / rope_factors[i] instead.
std::vector<float> inverse_frequencies(const LlamaConfig& config);

/// Checks that sizes are positive and fit each other; an Error says what of `where` is wrong.
void check(const LlamaConfig& config, const std::string& where);

/// Reads a Hugging Face config.json (old and new spelling of the rotary embedding); an Error names what is missing,
/// wrong or not supported.
LlamaConfig llama_config_from_hf(const JsonObject& json);

/// Reads the llama.* metadata of a GGUF file, rope_freqs.weight, and from the tensors what it does not say otherwise.
LlamaConfig llama_config_from_gguf(const GgufFile& file);

/// What llama_config_from_hf() reads: the content of a config.json. Divisors that a GGUF file brought become the rule
/// of llama3 that they follow; an Error where they follow none.
nlohmann::ordered_json to_hf_config(const LlamaConfig& config);

/// Adds the metadata that llama_config_from_gguf() reads; end tokens are the tokenizer's.
void add_config(GgufWriter& writer, const LlamaConfig& config);

/// Divisors of the frequencies (head_dim / 2) that a GGUF file needs in rope_freqs.weight; none where it needs no such
/// tensor.
std::vector<float> frequency_divisors(const LlamaConfig& config);

/// For archives: every field under its own name.
void to_json(nlohmann::json& json, const LlamaConfig& config);

}  // namespace hack::model
