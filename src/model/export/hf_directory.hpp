#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "kernels/dtype.hpp"
#include "model/export/model_exporter.hpp"

namespace hack::model {

/// A Hugging Face directory in the making, new or empty. It is made where it is not there. Unless finish() says that it
/// is whole, what was written goes again, and the directory where it was made.
class HfDirectory {
 public:
  /// An Error where it cannot be made or holds anything.
  explicit HfDirectory(std::filesystem::path path);
  ~HfDirectory();
  HfDirectory(const HfDirectory&) = delete;
  HfDirectory& operator=(const HfDirectory&) = delete;

  /// The path of a file that is to be written in it.
  std::filesystem::path add(const char* name);
  void write_text(const char* name, std::string_view text);
  void write_json(const char* name, const nlohmann::ordered_json& json);

  /// Copies tokenizer, settings of generation and licence of a model's directory, or makes the files of the tokenizer
  /// that a GGUF file holds; where this one has no such form, says so among the remarks.
  void write_companions(const Checkpoint& checkpoint, std::vector<std::string>& remarks);

  /// Writes config.json, without which nothing loads it: all else is there.
  void finish(const nlohmann::ordered_json& config);

 private:
  void write_tokenizer(const GgufFile& file, const std::vector<int>& eos_ids, std::vector<std::string>& remarks);

  std::filesystem::path path_;
  std::vector<std::filesystem::path> written_;
  bool is_made_ = false;
};

/// The content of config.json of weights that leave as `type`: a directory's own, in which only the number type is
/// another, or one made of what a GGUF file says.
nlohmann::ordered_json hf_config_of(const Checkpoint& checkpoint, DType type);

}  // namespace hack::model
