#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/queue.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/import/foreign_matrix.hpp"
#include "model/import/gptq_matrix.hpp"
#include "svd/archive/archive_info.hpp"

namespace hack::model {

/// A checkpoint in which another program has compressed matrices of a model, as a factor archive of that model. Read
/// are Hugging Face directories whose matrices are two linear layers (find_low_rank) or quantised by GPTQ (find_gptq).
/// What the archive holds is what the checkpoint holds, number for number; what cannot be held so is an Error that
/// names it. Linear layers and a head that are plain and differ from the model's become dense terms. All other tensors
/// are to be the model's, which runs with its own: equal, or equal once rounded to the checkpoint's type.
class ModelImport {
 public:
  /// Looks at names, shapes and settings. `base`: the model that was compressed; it outlives this.
  ModelImport(const Checkpoint& base, const std::filesystem::path& directory);

  /// Reads all tensors that are to be the model's. An Error names the first that is not.
  void check_rest() const;

  /// Names of the matrices that go into the archive, in the model's order.
  std::vector<std::string> matrices() const;

  /// The i-th of them, all of its tiles, with the energy of the model's matrix and of the difference. It may have
  /// none: a plain matrix that is the model's.
  std::optional<svd::MatrixPart> part(index_t i, Queue<Device::cpu>& queue) const;

  /// How the archive describes itself, but for its header.
  svd::CompressOptions storage() const;

  /// "low rank" or "gptq".
  const char* method() const { return gptq_ ? "gptq" : "low rank"; }

 private:
  struct Item {
    MatrixOf of;
    std::unique_ptr<ForeignMatrix> matrix;
    bool is_plain = false;
  };

  void read_config();
  void find_matrices();
  void find_vector(const TensorSpec& spec);
  void refuse_unknown() const;
  bool is_of_model(const MatrixOf& of, const std::string& name) const;

  const Checkpoint& base_;
  ForeignTensors tensors_;
  std::optional<GptqFormat> gptq_;
  std::vector<Item> items_;
  std::vector<std::pair<TensorSpec, std::string>> rest_;  // tensors that are to be the model's, and their names here
};

}  // namespace hack::model
