#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "model/checkpoint/checkpoint.hpp"

namespace hack::model {

/// Returns the config that was published with a model: llama-3.2-1b, llama-3.1-8b, llama-3.1-70b or llama-3.1-405b. An
/// Error names these if `shape` is another.
LlamaConfig published_config(std::string_view shape);

/// A Llama of a published shape whose weights are random: for timings and plans of models that are not at hand.
///
/// Matrices hold independent numbers of mean 0 and variance 1 / columns, rounded to bf16, each the sum of four uniform
/// ones: close to normal, never beyond 3.5 standard deviations. Each is a hash of seed, tensor and place, so reading a
/// block costs what the block is large, nothing is kept, and every machine sees the same bits. Norms hold ones.
class RandomCheckpoint final : public Checkpoint {
 public:
  /// `layers` cuts the model to its first ones; an Error unless it has that many. With a codec, one that tiles can be
  /// in, all matrices but the embedding table are held in it, each number the one nearest to what read() gives.
  RandomCheckpoint(std::string_view shape, std::optional<index_t> layers, std::uint64_t seed,
                   std::optional<Codec> codec = std::nullopt);

  bool contains(const std::string& name) const override { return tensors_.find(name) != tensors_.end(); }
  TensorInfo info(const std::string& name) const override;
  void read(const std::string& name, index_t row, index_t col, MatrixView<float> out) const override;
  std::optional<Codec> codec(const std::string& name) const override;
  void read_encoded(const std::string& name, svd::Range rows, svd::Range cols, std::byte* codes,
                    std::byte* scales) const override;
  /// An Error: random weights come without one.
  Tokenizer tokenizer() const override;
  /// Of what the numbers are made from: making them takes longer than reading a file.
  std::uint64_t digest(const std::string& name, index_t first, index_t rows) const override;
  DType exact_type() const override { return DType::bf16; }

 private:
  struct RandomTensor {
    index_t rows;
    index_t cols;
    bool is_vector;
    std::uint64_t key;  ///< of its stream of random numbers
  };

  const RandomTensor& find(const std::string& name) const;

  std::map<std::string, RandomTensor> tensors_;
  std::optional<Codec> codec_;
};

}  // namespace hack::model
