#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/matrix_view.hpp"
#include "model/checkpoint/llama_config.hpp"
#include "model/checkpoint/mapped_weights.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "svd/tile/range.hpp"

namespace hack::model {

/// A model on disk: its config and its weights by Hugging Face's names ("model.layers.0.mlp.gate_proj.weight", …),
/// whatever the format. Nothing is read before it is asked for. Reading is thread-safe.
class Checkpoint {
 public:
  /// Opens a Hugging Face directory or a .gguf file. Afterwards every tensor that the config implies is known to exist
  /// with the shape it implies; what is missing, damaged or not supported is an Error naming it.
  static std::unique_ptr<Checkpoint> open(const std::filesystem::path& model);

  virtual ~Checkpoint() = default;
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const LlamaConfig& config() const { return config_; }

  virtual bool contains(const std::string& name) const = 0;

  /// An Error if there is no such tensor.
  virtual TensorInfo info(const std::string& name) const = 0;

  /// Decodes the block of out.rows × out.cols numbers whose first is (row, col); a vector of n numbers is a (1, n)
  /// matrix. Touches only the bytes of those numbers (of their blocks, where quantized) and gives the pages back.
  /// Whole rows, many at a time, are cheapest. An Error naming the tensor if it is unknown or a number is NaN or
  /// infinite.
  virtual void read(const std::string& name, index_t row, index_t col, MatrixView<float> out) const = 0;

  /// The codec whose rows the file holds of a matrix: codes and scales that read_encoded() copies; nothing where the
  /// numbers can only be decoded. Of plain numbers it is their type.
  virtual std::optional<Codec> codec(const std::string& /*name*/) const { return {}; }

  /// Copies rows `rows` of a matrix in its codec, columns `cols` of them, which begin and end between blocks or at the
  /// row's end: codes (rows of code_bytes) and scales (rows of scale_bytes). Reads and gives back pages as read() does.
  /// An Error naming the tensor if a number is NaN or infinite.
  virtual void read_encoded(const std::string& name, svd::Range rows, svd::Range cols, std::byte* codes,
                            std::byte* scales) const;

  /// The tokenizer that comes with the model.
  virtual Tokenizer tokenizer() const = 0;

  /// The narrowest of bf16, f16 and f32 that holds every matrix exactly: f32 for quantized or mixed files.
  virtual DType exact_type() const = 0;

  /// Every tensor that the config implies, in the order of the forward pass.
  std::vector<std::string> names() const;

  /// The digits that fingerprint_of() gives, which tell models apart; read from all weights at the first call, which is
  /// not thread-safe, and known from then on.
  const std::string& fingerprint() const;
  /// Finds them with each rank reading its share of the weights. Collective.
  void share_fingerprint(const comm::Communicator& comm, int threads) const;

  /// The digest of some rows of a tensor, as f32: equal where all numbers are.
  virtual std::uint64_t digest(const std::string& name, index_t first, index_t rows) const;

  /// What in the files contradicts itself or goes unused, and what was made of it: a sentence each.
  const std::vector<std::string>& warnings() const { return warnings_; }

 protected:
  explicit Checkpoint(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
  LlamaConfig config_;
  std::vector<std::string> warnings_;

 private:
  mutable std::string fingerprint_;  // once it is known
};

}  // namespace hack::model
