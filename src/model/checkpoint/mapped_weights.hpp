#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/matrix_view.hpp"
#include "model/checkpoint/ggml_blocks.hpp"
#include "model/checkpoint/llama_tensors.hpp"
#include "io/mapped_file.hpp"
#include "svd/tile/range.hpp"

namespace hack::model {

/// Shape and storage of a weight tensor in its file. A vector has one row.
struct TensorInfo {
  index_t rows = 0;
  index_t cols = 0;
  std::string type;  ///< as the file's format calls it: "F32", "Q4_K", …
  index_t bytes = 0;
};

/// A weight tensor in a mapped file.
struct StoredWeight {
  const io::MappedFile* file = nullptr;
  GgmlType type = GgmlType::f32;
  std::uint64_t offset = 0;    ///< from the start of the file
  std::vector<index_t> shape;  ///< outermost first
  /// Rows of a head whose rotary pairs lie side by side in the file (GGUF's order), to be read with first members
  /// before second ones (Hugging Face's); 0 where rows stand as they are.
  index_t interleaved_head = 0;
};

/// The weights of a checkpoint by Hugging Face's names, read straight from mapped files. Reading is thread-safe.
class MappedWeights {
 public:
  /// `path` names the checkpoint in errors.
  explicit MappedWeights(std::string path) : path_(std::move(path)) {}

  /// Adds a tensor; its bytes are known to lie in its file.
  void add(const std::string& name, StoredWeight weight) { weights_.insert_or_assign(name, std::move(weight)); }

  /// Notes that a tensor is there but cannot be read, and why: an Error where it is needed.
  void add_unreadable(const std::string& name, std::string reason) { unreadable_[name] = std::move(reason); }

  /// Notes that a tensor is there in a format whose numbers are not known: an Error where they are read.
  void add_unreadable(const std::string& name, std::string reason, StoredWeight weight, std::string type);

  /// Checks that every tensor `config` implies is there, with the shape it implies, and forgets all others, whose names
  /// it returns; an Error names the tensor and what is wrong.
  std::vector<std::string> keep_implied(const LlamaConfig& config);

  bool contains(const std::string& name) const { return weights_.find(name) != weights_.end(); }
  TensorInfo info(const std::string& name) const;

  /// The block of out.rows × out.cols numbers whose first is (row, col), decoded; only its bytes are read, and their
  /// pages are given back. An Error naming the tensor if a number is NaN or infinite.
  void read(const std::string& name, index_t row, index_t col, MatrixView<float> out) const;

  /// The codec of a matrix's rows, if they have one.
  std::optional<Codec> codec(const std::string& name) const;

  /// Copies rows in their codec: see Checkpoint.
  void read_encoded(const std::string& name, svd::Range rows, svd::Range cols, std::byte* codes,
                    std::byte* scales) const;

  /// The narrowest number type that holds every matrix exactly; f32 where they differ or are quantized.
  DType exact_type() const;

 private:
  /// What is known of a format whose numbers are not.
  struct Opaque {
    std::string type;
    std::string reason;
  };

  const StoredWeight& find(const std::string& name) const;
  /// The same; an Error where its numbers cannot be read.
  const StoredWeight& find_readable(const std::string& name) const;

  std::string path_;
  std::map<std::string, StoredWeight> weights_;
  std::map<std::string, std::string> unreadable_;
  std::map<std::string, Opaque> opaque_;
};

}  // namespace hack::model
