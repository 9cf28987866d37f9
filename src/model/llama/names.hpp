#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.hpp"

namespace hack::model {

/// The linear layers of a decoder layer, by the short names of `--matrices`, in the order of the forward pass.
struct LinearName {
  std::string_view short_name;
  std::string_view path;  ///< within "model.layers.N."
};

inline constexpr std::array<LinearName, 7> linear_names = {{
    {"q", "self_attn.q_proj"},
    {"k", "self_attn.k_proj"},
    {"v", "self_attn.v_proj"},
    {"o", "self_attn.o_proj"},
    {"gate", "mlp.gate_proj"},
    {"up", "mlp.up_proj"},
    {"down", "mlp.down_proj"},
}};

inline std::string layer_prefix(index_t layer) { return "model.layers." + std::to_string(layer) + "."; }

/// The weights of one of `linear_names` in a layer.
inline std::string weight_name(index_t layer, std::size_t linear) {
  return layer_prefix(layer) + std::string(linear_names[linear].path) + ".weight";
}

inline constexpr const char* embedding_name = "model.embed_tokens.weight";
inline constexpr const char* final_norm_name = "model.norm.weight";
inline constexpr const char* head_path = "lm_head";
inline constexpr const char* head_name = "lm_head.weight";

/// The weights of some of `linear_names` in each layer, and of the head, in the order of archives.
inline std::vector<std::string> weight_names(index_t layers, const std::vector<std::size_t>& linears, bool head) {
  std::vector<std::string> names;
  for (index_t layer = 0; layer < layers; ++layer) {
    for (const std::size_t linear : linears) names.push_back(weight_name(layer, linear));
  }
  if (head) names.emplace_back(head_name);
  return names;
}

}  // namespace hack::model
