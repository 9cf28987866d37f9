#pragma once

#include <string>
#include <vector>

#include "model/checkpoint/layer_tensors.hpp"

namespace hack::model {

/// What Hugging Face's names of a layer's tensors begin with.
inline std::string layer_prefix(index_t layer) { return "model.layers." + std::to_string(layer) + "."; }

/// Hugging Face's name of the weights of a layer's linear layer.
inline std::string weight_name(index_t layer, Linear linear) {
  return layer_prefix(layer) + std::string(tensor_of(linear).path) + ".weight";
}

inline constexpr const char* embedding_name = embedding_tensor.name.data();
inline constexpr const char* final_norm_name = final_norm_tensor.name.data();
inline constexpr const char* head_path = "lm_head";
inline constexpr const char* head_name = head_tensor.name.data();

/// The matrix that makes logits: the head's own, or the embedding table.
inline const char* head_weights(const LlamaConfig& config) {
  return config.tied_embeddings ? embedding_name : head_name;
}

/// The weights of some linear layers in each decoder layer, and of the head, in the order of archives.
inline std::vector<std::string> weight_names(const LlamaConfig& config, const std::vector<Linear>& linears, bool head) {
  std::vector<std::string> names;
  for (index_t layer = 0; layer < config.layers; ++layer) {
    for (const Linear linear : linears) names.push_back(weight_name(layer, linear));
  }
  if (head) names.emplace_back(head_weights(config));
  return names;
}

}  // namespace hack::model
