#pragma once

#include "model/checkpoint/checkpoint.hpp"
#include "model/checkpoint/gguf_file.hpp"

namespace hack::model {

/// A GGUF file of a Llama. Its tensors go by Hugging Face's names, and the rows of q and k, which GGUF keeps with
/// rotary pairs side by side, are read in Hugging Face's order.
class GgufCheckpoint final : public Checkpoint {
 public:
  explicit GgufCheckpoint(const std::filesystem::path& path);

  const GgufFile& file() const { return file_; }

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
  Tokenizer tokenizer() const override { return Tokenizer::from_gguf(file_); }
  DType exact_type() const override { return weights_.exact_type(); }

 private:
  GgufFile file_;
  MappedWeights weights_;
};

}  // namespace hack::model
