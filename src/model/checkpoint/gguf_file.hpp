#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/dtype.hpp"
#include "model/checkpoint/ggml_blocks.hpp"
#include "io/mapped_file.hpp"

namespace hack::model {

/// Where a tensor lies in a GGUF file.
struct GgufTensor {
  GgmlType type = GgmlType::f32;
  std::optional<std::uint32_t> unknown_type;  ///< GGUF's number of a format that is not known, with 0 bytes
  std::vector<index_t> dims;                  ///< innermost first: a matrix (rows, cols) has dims {cols, rows}
  std::uint64_t offset = 0;                   ///< from the start of the file
  std::uint64_t bytes = 0;
  std::size_t part = 0;  ///< of a split file
};

/// All files of the model that `path` is a part of, by its name: NAME-00001-of-00003.gguf and so on; else `path` alone.
/// They need not exist.
std::vector<std::filesystem::path> gguf_parts(const std::filesystem::path& path);

/// One GGUF file, version 2 or 3, little-endian: its metadata and its table of tensors. Of a split one, whose parts are
/// called NAME-00001-of-00003.gguf and so on, any part stands for all of them. The file is not trusted: every
/// length, count and offset is checked before it is used, and what is wrong is an Error naming the file and the key or
/// tensor.
class GgufFile {
 public:
  explicit GgufFile(const std::filesystem::path& path);

  const std::string& path() const { return file_.path(); }

  /// The value of a key; nothing if the file does not have it, an Error if it is of another kind. `find_number` takes
  /// integers too.
  std::optional<std::int64_t> find_integer(std::string_view key) const;
  std::optional<double> find_number(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<std::string> find_string(std::string_view key) const;

  /// The array of a key; an Error if the file does not have it or it holds something else. `numbers` takes integers
  /// too.
  std::vector<std::string> strings(std::string_view key) const;
  std::vector<std::int64_t> integers(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;

  /// Every key, sorted.
  std::vector<std::string> keys() const;
  /// The value of a key as the file has it: the number of its kind, then its bytes.
  std::span<const std::byte> value_bytes(std::string_view key) const;
  /// Whether the file has the key, with a value of any kind.
  bool has(std::string_view key) const { return values_.find(key) != values_.end(); }

  const std::map<std::string, GgufTensor, std::less<>>& tensors() const { return tensors_; }
  /// Null if there is no tensor of that name.
  const GgufTensor* find_tensor(std::string_view name) const;
  /// The tensor's bytes, row after row.
  std::span<const std::byte> tensor_bytes(const GgufTensor& tensor) const {
    return file_of(tensor).bytes(tensor.offset, tensor.bytes);
  }

  /// The file, or part, in which a tensor lies.
  const io::MappedFile& file_of(const GgufTensor& tensor) const {
    return tensor.part == 0 ? file_ : other_parts_[tensor.part - 1].file_;
  }

 private:
  /// An array left in the file: where its elements start and what they are.
  struct Array {
    std::uint32_t element_type;
    std::uint64_t count;
    std::uint64_t offset;
  };
  using Value = std::variant<std::int64_t, std::uint64_t, double, bool, std::string, Array>;
  /// A value and where it lies in the file, with its kind.
  struct PlacedValue {
    Value value;
    std::uint64_t begin;
    std::uint64_t end;
  };
  class Reader;
  enum class Parts { all, one };

  GgufFile(const std::filesystem::path& path, Parts parts);
  void add_part(std::size_t number, std::size_t count);
  void read_values(Reader& reader, std::uint64_t count);
  Value read_value(Reader& reader, std::uint32_t type, const std::string& key) const;
  void read_tensors(Reader& reader, std::uint64_t count);
  void place_tensors(std::uint64_t data_start, std::uint64_t alignment);
  const Value* find(std::string_view key) const;
  const Array& array(std::string_view key) const;

  io::MappedFile file_;
  std::vector<GgufFile> other_parts_;  // of a split file, from the second on
  std::map<std::string, PlacedValue, std::less<>> values_;
  std::map<std::string, GgufTensor, std::less<>> tensors_;
};

}  // namespace hack::model
