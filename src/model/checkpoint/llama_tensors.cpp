#include "model/checkpoint/llama_tensors.hpp"

#include "model/llama/names.hpp"

namespace hack::model {
namespace {

std::string shape_words(Extent rows, Extent cols) {
  const std::string last(row_of(cols).words);
  return rows == Extent::one ? last : std::string(row_of(rows).words) + " × " + last;
}

class SpecList {
 public:
  explicit SpecList(const LlamaConfig& config) : config_(config) {}

  void add(const ModelTensor& tensor) {
    if (!tensor.has_weight(config_)) return;
    add(std::string(tensor.name), std::string(tensor.gguf), tensor.rows, tensor.cols, false);
  }

  void add(const LayerTensor& tensor, index_t layer) {
    const std::string name = layer_prefix(layer) + std::string(tensor.path);
    const std::string gguf = "blk." + std::to_string(layer) + "." + std::string(tensor.gguf);
    if (tensor.has_weight(config_)) {
      add(name + ".weight", gguf + ".weight", tensor.rows, tensor.cols, tensor.turns_in_gguf);
    }
    if (tensor.has_bias(config_)) {
      add(name + ".bias", gguf + ".bias", Extent::one, tensor.rows, tensor.turns_in_gguf);
    }
  }

  std::vector<TensorSpec> take() { return std::move(specs_); }

 private:
  void add(std::string name, std::string gguf, Extent rows, Extent cols, bool turns) {
    specs_.push_back({std::move(name), std::move(gguf), size_of(rows, config_), size_of(cols, config_),
                      rows == Extent::one, turns, shape_words(rows, cols)});
  }

  const LlamaConfig& config_;
  std::vector<TensorSpec> specs_;
};

}  // namespace

std::vector<TensorSpec> llama_tensors(const LlamaConfig& config) {
  SpecList specs(config);
  specs.add(embedding_tensor);
  for (index_t layer = 0; layer < config.layers; ++layer) {
    for (const LayerTensor& tensor : layer_tensors) specs.add(tensor, layer);
  }
  specs.add(final_norm_tensor);
  specs.add(head_tensor);
  return specs.take();
}

}  // namespace hack::model
