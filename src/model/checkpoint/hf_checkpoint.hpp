#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint/checkpoint.hpp"
#include "model/checkpoint/safetensors_file.hpp"

namespace hack::model {

/// A Hugging Face directory: config.json, tokenizer.json (or tokenizer.model), and model.safetensors or the shards that
/// model.safetensors.index.json lists (of both, the single file is read, as transformers does). End tokens are those of
/// generation_config.json where it names any, else those of config.json. Tensors may stand under another prefix than
/// "model.", as the embedding table's name says; those that no part of a Llama has are in warnings().
class HfCheckpoint final : public Checkpoint {
 public:
  explicit HfCheckpoint(const std::filesystem::path& directory);

  bool contains(const std::string& name) const override { return weights_.contains(name); }
  TensorInfo info(const std::string& name) const override { return weights_.info(name); }
  void read(const std::string& name, index_t row, index_t col, MatrixView<float> out) const override {
    weights_.read(name, row, col, out);
  }
  std::optional<Codec> codec(const std::string& name) const override { return weights_.codec(name); }
  void read_encoded(const std::string& name, svd::Range rows, svd::Range cols, std::byte* codes,
                    std::byte* scales) const override {
    weights_.read_encoded(name, rows, cols, codes, scales);
  }
  Tokenizer tokenizer() const override;
  DType exact_type() const override { return weights_.exact_type(); }

 private:
  /// Of all names but the head's, where the model was saved with its head; a bare model has none, and one that was part
  /// of another has more.
  static constexpr std::string_view usual_prefix = "model.";

  void read_config();
  void open_shards();
  void add_weights(const SafetensorsFile& file, const std::string& name);
  void find_prefix(const std::vector<std::string>& names);
  void warn_of_unused(const std::vector<std::string>& names);

  std::vector<std::unique_ptr<SafetensorsFile>> shards_;
  std::string prefix_ = std::string(usual_prefix);  // of the names in the files
  MappedWeights weights_;
};

}  // namespace hack::model
