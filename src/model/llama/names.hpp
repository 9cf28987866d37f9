#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.hpp"

namespace hack::model {

/// The linear layers of a decoder layer, in the order of the forward pass.
enum class Linear { q, k, v, o, gate, up, down };

inline constexpr std::array all_linears = {Linear::q,    Linear::k,  Linear::v,   Linear::o,
                                           Linear::gate, Linear::up, Linear::down};

inline constexpr std::size_t index_of(Linear linear) { return static_cast<std::size_t>(linear); }

/// Whether it belongs to the MLP; the others belong to the attention.
inline constexpr bool is_mlp(Linear linear) { return linear >= Linear::gate; }

/// Its short name: "q", "k", "v", "o", "gate", "up", "down".
inline constexpr std::string_view to_string(Linear linear) {
  constexpr std::array<std::string_view, all_linears.size()> names = {"q", "k", "v", "o", "gate", "up", "down"};
  return names[index_of(linear)];
}

/// The linear layer of that short name; nothing if there is none.
inline constexpr std::optional<Linear> find_linear(std::string_view name) {
  for (const Linear linear : all_linears) {
    if (to_string(linear) == name) return linear;
  }
  return {};
}

inline std::string layer_prefix(index_t layer) { return "model.layers." + std::to_string(layer) + "."; }

/// Hugging Face's name of the weights of a layer's linear layer.
inline std::string weight_name(index_t layer, Linear linear) {
  return layer_prefix(layer) + (is_mlp(linear) ? "mlp." : "self_attn.") + std::string(to_string(linear)) +
         "_proj.weight";
}

inline constexpr const char* embedding_name = "model.embed_tokens.weight";
inline constexpr const char* final_norm_name = "model.norm.weight";
inline constexpr const char* head_path = "lm_head";
inline constexpr const char* head_name = "lm_head.weight";

/// The weights of some linear layers in each decoder layer, and of the head, in the order of archives.
inline std::vector<std::string> weight_names(index_t layers, const std::vector<Linear>& linears, bool head) {
  std::vector<std::string> names;
  for (index_t layer = 0; layer < layers; ++layer) {
    for (const Linear linear : linears) names.push_back(weight_name(layer, linear));
  }
  if (head) names.emplace_back(head_name);
  return names;
}

}  // namespace hack::model
