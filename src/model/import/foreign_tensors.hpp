#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "kernels/matrix_view.hpp"
#include "model/checkpoint/ggml_blocks.hpp"
#include "model/checkpoint/safetensors_file.hpp"

namespace hack::model {

/// The tensors of a directory of safetensors, whatever they are, by Hugging Face's names of a whole model
/// ("model.layers.0.…"), also where the files leave out "model.". Notes which of them were asked for.
class ForeignTensors {
 public:
  /// Opens model.safetensors, or the shards that model.safetensors.index.json lists. An Error where there are neither.
  explicit ForeignTensors(const std::filesystem::path& directory);

  const std::filesystem::path& path() const { return path_; }
  bool contains(const std::string& name) const { return tensors_.count(name) > 0; }

  /// The tensor; an Error if it is not there or is not of this shape and of one of these types.
  const SafetensorsEntry& find(const std::string& name, std::span<const index_t> shape,
                               std::span<const std::string_view> types);
  /// Its shape and type, whatever they are; nothing is noted. An Error if it is not there.
  const SafetensorsEntry& entry(const std::string& name) const;
  std::span<const std::byte> bytes(const std::string& name) const;
  /// Gives the pages of a tensor that was read back.
  void release(const std::string& name) const;

  /// Reads rows [row, row + out.rows) of a tensor of plain numbers; a vector is one row. Gives their pages back. An
  /// Error names the tensor where a number is NaN or infinite.
  void read(const std::string& name, index_t row, MatrixView<float> out) const;

  /// Names that were not asked for, sorted.
  std::vector<std::string> unused() const;
  /// Notes that a tensor was asked for.
  void use(const std::string& name) { used_.insert(name); }

 private:
  struct Tensor {
    const SafetensorsFile* file;
    const SafetensorsEntry* entry;
  };

  const Tensor& at(const std::string& name) const;
  void open(const std::filesystem::path& file);

  std::filesystem::path path_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Tensor> tensors_;
  std::set<std::string> used_;
};

/// Types of plain numbers, as safetensors spells them.
inline constexpr std::string_view plain_types[] = {"F32", "F16", "BF16"};

/// The codec of such a type.
Codec codec_of_type(std::string_view type);

}  // namespace hack::model
