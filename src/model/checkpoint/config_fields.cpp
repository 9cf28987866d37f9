#include "model/checkpoint/config_fields.hpp"

#include <array>

namespace hack::model {
namespace {

// No Llama comes near these; below them no product of two sizes and no list of names runs away.
constexpr index_t largest_size = index_t{1} << 28;
constexpr index_t most_layers = 4096;
constexpr index_t most_in_attention = 1 << 14;

template <index_t most>
constexpr Bound up_to = [](const LlamaConfig&) { return most; };
constexpr Bound up_to_heads = [](const LlamaConfig& config) { return config.heads; };

template <index_t value>
constexpr Default<index_t> always = [](const LlamaConfig&) { return std::optional<index_t>(value); };
constexpr Default<index_t> as_heads = [](const LlamaConfig& before) { return std::optional(before.heads); };
constexpr Default<index_t> share_of_hidden = [](const LlamaConfig& before) -> std::optional<index_t> {
  if (before.heads < 1 || before.hidden_size % before.heads != 0) return {};
  return before.hidden_size / before.heads;
};

// What a config.json may leave out has the value that transformers gives it. Defaults may use the rows above theirs.
// clang-format off
constexpr std::array sizes = {
    SizeField{"hidden_size", "the hidden size", &LlamaConfig::hidden_size, up_to<largest_size>,
              "hidden_size", "embedding_length", nullptr, nullptr},
    SizeField{"intermediate_size", "the intermediate size", &LlamaConfig::intermediate_size, up_to<largest_size>,
              "intermediate_size", "feed_forward_length", nullptr, nullptr},
    SizeField{"layers", "the number of layers", &LlamaConfig::layers, up_to<most_layers>,
              "num_hidden_layers", "block_count", nullptr, nullptr},
    SizeField{"heads", "the number of heads", &LlamaConfig::heads, up_to<most_in_attention>,
              "num_attention_heads", "attention.head_count", nullptr, nullptr},
    SizeField{"kv_heads", "the number of key/value heads", &LlamaConfig::kv_heads, up_to_heads,
              "num_key_value_heads", "attention.head_count_kv", as_heads, as_heads},
    SizeField{"head_dim", "the head dimension", &LlamaConfig::head_dim, up_to<most_in_attention>,
              "head_dim", "attention.key_length", share_of_hidden, share_of_hidden},
    SizeField{"vocab_size", "the vocabulary", &LlamaConfig::vocab_size, up_to<largest_size>,
              "vocab_size", "", nullptr, nullptr},
    SizeField{"context_length", "the context length", &LlamaConfig::context_length, up_to<largest_size>,
              "max_position_embeddings", "context_length", always<2048>, nullptr},
};

constexpr std::array flags = {
    FlagField{"tied_embeddings", &LlamaConfig::tied_embeddings, "tie_word_embeddings", "output.weight", true},
    FlagField{"attention_bias", &LlamaConfig::attention_bias, "attention_bias", "blk.0.attn_output.bias", false},
    FlagField{"qkv_bias", &LlamaConfig::qkv_bias, "", "blk.0.attn_q.bias", false, false},
    FlagField{"mlp_bias", &LlamaConfig::mlp_bias, "mlp_bias", "blk.0.ffn_gate.bias", false},
    FlagField{"qk_norm", &LlamaConfig::qk_norm, "", "blk.0.attn_q_norm.weight", false},
};

constexpr std::array numbers = {
    NumberField{"rms_norm_eps", "epsilon of the norms", &LlamaConfig::rms_norm_eps,
                "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-6f},
};

constexpr std::array rope_numbers = {
    RopeField{"theta", &RopeScaling::theta, "rope_theta", RopeType::none},
    RopeField{"factor", &RopeScaling::factor, "factor", RopeType::linear},
    RopeField{"low_freq_factor", &RopeScaling::low_freq_factor, "low_freq_factor", RopeType::llama3},
    RopeField{"high_freq_factor", &RopeScaling::high_freq_factor, "high_freq_factor", RopeType::llama3},
};
// clang-format on

constexpr std::array families = {
    Architecture{"llama", "LlamaForCausalLM", "llama", true, nullptr, true, true, WindowRule::none,
                 [](const LlamaConfig&) { return true; }},
    Architecture{"mistral", "MistralForCausalLM", "llama", true, nullptr, false, false, WindowRule::always,
                 [](const LlamaConfig& config) { return config.sliding_window > 0; }},
    Architecture{"qwen2", "Qwen2ForCausalLM", "qwen2", false, &LlamaConfig::qkv_bias, false, false, WindowRule::flagged,
                 [](const LlamaConfig& config) { return config.qkv_bias && !config.attention_bias; }},
    Architecture{"qwen3", "Qwen3ForCausalLM", "qwen3", false, &LlamaConfig::qk_norm, true, false, WindowRule::flagged,
                 [](const LlamaConfig& config) { return config.qk_norm; }},
};

}  // namespace

std::span<const SizeField> size_fields() { return sizes; }
std::span<const FlagField> flag_fields() { return flags; }
std::span<const NumberField> number_fields() { return numbers; }
std::span<const RopeField> rope_fields() { return rope_numbers; }
std::span<const Architecture> architectures() { return families; }

std::string architecture_names() {
  std::string out;
  for (std::size_t i = 0; i < families.size(); ++i) {
    out += (i == 0 ? "" : i + 1 == families.size() ? " and " : ", ") + std::string(families[i].hf);
  }
  return out + (families.size() == 1 ? " is" : " are");
}

}  // namespace hack::model
