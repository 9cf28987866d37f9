#pragma once

#include <array>
#include <string>
#include <string_view>

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

inline constexpr const char* embedding_name = "model.embed_tokens.weight";
inline constexpr const char* final_norm_name = "model.norm.weight";
inline constexpr const char* head_name = "lm_head.weight";

}  // namespace hack::model
