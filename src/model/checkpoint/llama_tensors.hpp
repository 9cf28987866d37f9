#pragma once

#include <string>
#include <vector>

#include "model/checkpoint/llama_config.hpp"

namespace hack::model {

/// A tensor that a Llama of some shape has, under Hugging Face's name.
struct TensorSpec {
  std::string name;
  index_t rows = 0;  ///< 1 for a vector
  index_t cols = 0;
  bool is_vector = false;
  const char* shape_from = "";  ///< which numbers of the config give the shape
};

/// Every tensor that `config` implies: embedding, layers in order (norm, q, k, v, o, norm, gate, up, down, each weight
/// followed by its bias), final norm, head (unless tied).
std::vector<TensorSpec> llama_tensors(const LlamaConfig& config);

}  // namespace hack::model
