#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/queue.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "svd/archive/factor_source.hpp"

namespace hack::model {

/// What leaves: a checkpoint, and of its compressed matrices what an archive (may be null) has of them.
struct ExportSource {
  const Checkpoint& checkpoint;
  const svd::FactorSource* archive;
  Queue<Device::cpu>& queue;  ///< multiplies them out
};

/// What has left in one number format.
struct ExportedKind {
  index_t tensors = 0;
  index_t bytes = 0;
};

/// Writes a model in a form that other programs load, one tensor after the other: no more than one matrix is in memory.
/// One process does all of it. Nothing has its final name before finish(), but for files beside the weights.
class ModelExporter {
 public:
  virtual ~ModelExporter() = default;
  ModelExporter(const ModelExporter&) = delete;
  ModelExporter& operator=(const ModelExporter&) = delete;

  /// How many tensors there are.
  virtual index_t size() const = 0;
  /// Writes the next one.
  virtual void write_next() = 0;
  /// Puts everything in its place.
  virtual void finish() = 0;

  /// What has left so far, by the format's name: GGML's, or that of safetensors.
  const std::map<std::string, ExportedKind>& kinds() const { return kinds_; }
  /// Sentences about what did not leave as it is stored.
  const std::vector<std::string>& remarks() const { return remarks_; }

 protected:
  ModelExporter() = default;

  void count(std::string_view type, index_t bytes);

  std::map<std::string, ExportedKind> kinds_;
  std::vector<std::string> remarks_;
};

/// Makes a Hugging Face directory: config.json, generation_config.json, the tokenizer's files where the model has some
/// that can be written so, and all weights, compressed matrices multiplied out, as `type` in model.safetensors. The
/// directory is made where it is not there; one that holds anything is an Error. config.json is written last: what a
/// killed run leaves is no model. `source` outlives the exporter.
std::unique_ptr<ModelExporter> export_hf(const ExportSource& source, const std::filesystem::path& directory,
                                         DType type);

/// Makes a Hugging Face directory that keeps the terms of compressed matrices as they are stored, with the same numbers
/// of parameters: `modeling_hack.py` beside them multiplies with them, tile by tile, and never rebuilds a matrix. In
/// place of NAME.weight there are flat tensors of all terms of the matrix (FactoredTensors). All other weights leave as
/// `type`, a compressed embedding table multiplied out among them. Otherwise as export_hf().
std::unique_ptr<ModelExporter> export_factored_hf(const ExportSource& source, const std::filesystem::path& directory,
                                                  DType type);

/// Makes a GGUF file. A compressed matrix whose tiles are one dense term each, all in one codec that GGML has too and
/// whose blocks end with the tiles, leaves with these codes and scales; every other one is multiplied out and rounded
/// to `type`. What is not compressed stays as it is stored: of a GGUF file every tensor and all metadata, of a Hugging
/// Face directory matrices in their type and vectors in f32. An Error where the tokenizer has no form in GGUF, or where
/// the file would take the place of the model itself. `source` outlives the exporter.
std::unique_ptr<ModelExporter> export_gguf(const ExportSource& source, const std::filesystem::path& file, DType type);

}  // namespace hack::model
