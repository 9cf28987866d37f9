#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <variant>

#include "model/checkpoint/llama_config.hpp"

namespace hack::model {

/// The linear layers of a decoder layer, in the order of the forward pass.
enum class Linear { q, k, v, o, gate, up, down };

/// The norms of a decoder layer.
enum class Norm { input, q, k, post_attention };

inline constexpr std::array all_linears = {Linear::q,    Linear::k,  Linear::v,   Linear::o,
                                           Linear::gate, Linear::up, Linear::down};
inline constexpr std::array mlp_linears = {Linear::gate, Linear::up, Linear::down};
inline constexpr std::size_t norm_count = 4;

template <class Name>
constexpr std::size_t index_of(Name name) {
  return static_cast<std::size_t>(name);
}

/// What the rows or columns of a tensor stand for.
enum class Extent { one, hidden, queries, keys, head, intermediate, vocabulary };

/// What an extent says of rows or columns.
struct ExtentRow {
  std::string_view words;
  index_t (*size)(const LlamaConfig& config);
  bool is_cut;  ///< each rank holds a part of them, as ShardPlan says; otherwise all of them
};

/// By Extent.
inline constexpr std::array extents = {
    ExtentRow{"1", [](const LlamaConfig&) { return index_t{1}; }, false},
    ExtentRow{"hidden size", [](const LlamaConfig& config) { return config.hidden_size; }, false},
    ExtentRow{"heads · head dimension", [](const LlamaConfig& config) { return config.heads * config.head_dim; }, true},
    ExtentRow{"key/value heads · head dimension",
              [](const LlamaConfig& config) { return config.kv_heads * config.head_dim; }, true},
    ExtentRow{"head dimension", [](const LlamaConfig& config) { return config.head_dim; }, false},
    ExtentRow{"intermediate size", [](const LlamaConfig& config) { return config.intermediate_size; }, true},
    ExtentRow{"vocabulary", [](const LlamaConfig& config) { return config.vocab_size; }, true},
};

constexpr const ExtentRow& row_of(Extent extent) { return extents[index_of(extent)]; }

/// How many rows or columns that are.
inline index_t size_of(Extent extent, const LlamaConfig& config) { return row_of(extent).size(config); }

/// Whether models of this description have a tensor.
using Presence = bool (*)(const LlamaConfig& config);

/// A tensor of every decoder layer: one row of the table that checkpoint readers, the fingerprint, the loader, the
/// memory formula, random checkpoints and the tests' models go by.
struct LayerTensor {
  std::variant<Norm, Linear> which;
  std::string_view short_name;  ///< of options; norms have none
  std::string_view path;        ///< Hugging Face's name behind "model.layers.N.", without ".weight" and ".bias"
  std::string_view gguf;        ///< GGUF's name behind "blk.N.", likewise
  Extent rows;                  ///< `one` for a vector
  Extent cols;
  Presence has_weight;
  Presence has_bias;   ///< a vector of as many numbers as there are rows
  bool turns_in_gguf;  ///< its rows are turned by the rotary embedding; Llama's GGUF files keep their pairs together

  bool is_vector() const { return rows == Extent::one; }
};

namespace presence {
inline constexpr Presence always = [](const LlamaConfig&) { return true; };
inline constexpr Presence never = [](const LlamaConfig&) { return false; };
inline constexpr Presence attention_bias = [](const LlamaConfig& config) { return config.attention_bias; };
inline constexpr Presence qkv_bias = [](const LlamaConfig& config) { return config.qkv_bias; };
inline constexpr Presence mlp_bias = [](const LlamaConfig& config) { return config.mlp_bias; };
inline constexpr Presence qk_norm = [](const LlamaConfig& config) { return config.qk_norm; };
inline constexpr Presence own_head = [](const LlamaConfig& config) { return !config.tied_embeddings; };
}  // namespace presence

// clang-format off
/// In the order of the forward pass, which is also that of fingerprints.
inline constexpr std::array layer_tensors = {
    LayerTensor{Norm::input, "", "input_layernorm", "attn_norm",
                Extent::one, Extent::hidden, presence::always, presence::never, false},
    LayerTensor{Linear::q, "q", "self_attn.q_proj", "attn_q",
                Extent::queries, Extent::hidden, presence::always, presence::qkv_bias, true},
    LayerTensor{Linear::k, "k", "self_attn.k_proj", "attn_k",
                Extent::keys, Extent::hidden, presence::always, presence::qkv_bias, true},
    LayerTensor{Linear::v, "v", "self_attn.v_proj", "attn_v",
                Extent::keys, Extent::hidden, presence::always, presence::qkv_bias, false},
    LayerTensor{Norm::q, "", "self_attn.q_norm", "attn_q_norm",
                Extent::one, Extent::head, presence::qk_norm, presence::never, false},
    LayerTensor{Norm::k, "", "self_attn.k_norm", "attn_k_norm",
                Extent::one, Extent::head, presence::qk_norm, presence::never, false},
    LayerTensor{Linear::o, "o", "self_attn.o_proj", "attn_output",
                Extent::hidden, Extent::queries, presence::always, presence::attention_bias, false},
    LayerTensor{Norm::post_attention, "", "post_attention_layernorm", "ffn_norm",
                Extent::one, Extent::hidden, presence::always, presence::never, false},
    LayerTensor{Linear::gate, "gate", "mlp.gate_proj", "ffn_gate",
                Extent::intermediate, Extent::hidden, presence::always, presence::mlp_bias, false},
    LayerTensor{Linear::up, "up", "mlp.up_proj", "ffn_up",
                Extent::intermediate, Extent::hidden, presence::always, presence::mlp_bias, false},
    LayerTensor{Linear::down, "down", "mlp.down_proj", "ffn_down",
                Extent::hidden, Extent::intermediate, presence::always, presence::mlp_bias, false},
};
// clang-format on

/// A tensor that a model has once.
struct ModelTensor {
  std::string_view name;  ///< Hugging Face's
  std::string_view gguf;
  Extent rows;
  Extent cols;
  Presence has_weight;
};

inline constexpr ModelTensor embedding_tensor = {"model.embed_tokens.weight", "token_embd.weight", Extent::vocabulary,
                                                 Extent::hidden, presence::always};
inline constexpr ModelTensor final_norm_tensor = {"model.norm.weight", "output_norm.weight", Extent::one,
                                                  Extent::hidden, presence::always};
inline constexpr ModelTensor head_tensor = {"lm_head.weight", "output.weight", Extent::vocabulary, Extent::hidden,
                                            presence::own_head};

/// The row of a linear layer.
constexpr const LayerTensor& tensor_of(Linear linear) {
  for (const LayerTensor& tensor : layer_tensors) {
    const Linear* which = std::get_if<Linear>(&tensor.which);
    if (which != nullptr && *which == linear) return tensor;
  }
  return layer_tensors.front();
}

/// Its short name: "q", "k", "v", "o", "gate", "up", "down".
constexpr std::string_view to_string(Linear linear) { return tensor_of(linear).short_name; }

/// The linear layer of that short name; nothing if there is none.
constexpr std::optional<Linear> find_linear(std::string_view name) {
  for (const Linear linear : all_linears) {
    if (to_string(linear) == name) return linear;
  }
  return {};
}

/// Whether it belongs to the MLP; the others belong to the attention.
constexpr bool is_mlp(Linear linear) {
  const LayerTensor& tensor = tensor_of(linear);
  return tensor.rows == Extent::intermediate || tensor.cols == Extent::intermediate;
}

}  // namespace hack::model
