#pragma once

#include <string>
#include <vector>

#include "model/checkpoint/llama_config.hpp"

namespace hack::model {

/// A tensor that a Llama of some shape has.
struct TensorSpec {
  std::string name;  ///< Hugging Face's
  std::string gguf_name;
  index_t rows = 0;  ///< 1 for a vector
  index_t cols = 0;
  bool is_vector = false;
  bool turns_in_gguf = false;  ///< as LayerTensor
  std::string shape_from;      ///< which numbers of the config give the shape
};

/// Its sizes, outermost first: one of a vector.
inline std::vector<index_t> shape_of(const TensorSpec& spec) {
  return spec.is_vector ? std::vector<index_t>{spec.cols} : std::vector<index_t>{spec.rows, spec.cols};
}

/// Every tensor that `config` implies: embedding, layers in order (`layer_tensors`, each weight followed by its bias),
/// final norm, head (unless tied).
std::vector<TensorSpec> llama_tensors(const LlamaConfig& config);

}  // namespace hack::model
