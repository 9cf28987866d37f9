#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.hpp"
#include "io/mapped_file.hpp"

namespace hack::model {

/// Where a tensor lies in a safetensors file.
struct SafetensorsEntry {
  std::string type;            ///< as the file spells it: "F32", "BF16", …
  std::vector<index_t> shape;  ///< outermost first
  std::uint64_t offset = 0;    ///< from the start of the file
  std::uint64_t bytes = 0;
};

/// One safetensors file: 8 bytes length, a JSON header of that length, data. The file is not trusted: the header is
/// checked against the file's size, shapes against the bytes they claim, and tensors against each other, side by side
/// from the first byte of data to the last; what is wrong is an Error naming the file and the tensor. Tensors of types
/// that weights never have are listed, not decoded.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::string& path() const { return file_.path(); }
  const io::MappedFile& file() const { return file_; }

  const std::map<std::string, SafetensorsEntry, std::less<>>& entries() const { return entries_; }
  /// Null if there is no tensor of that name.
  const SafetensorsEntry* find(std::string_view name) const;

 private:
  void check_places(std::uint64_t data_start) const;

  io::MappedFile file_;
  std::map<std::string, SafetensorsEntry, std::less<>> entries_;
};

}  // namespace hack::model
