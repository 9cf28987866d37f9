#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/output_file.hpp"
#include "model/checkpoint/ggml_blocks.hpp"

namespace hack::model {

class GgufFile;

/// Writes a GGUF file of version 3, little-endian, alignment 32: first all metadata and the table of tensors, then the
/// tensors' bytes from the first tensor to the last. The file takes its place in finish(), when all of it is there.
class GgufWriter {
 public:
  static constexpr std::uint64_t alignment = 32;

  explicit GgufWriter(const std::filesystem::path& path) : file_(path) {}

  // A value of the metadata; each key once.
  void add_integer(std::string_view key, std::uint32_t value);
  void add_number(std::string_view key, float value);
  void add_flag(std::string_view key, bool value);
  void add_text(std::string_view key, std::string_view value);
  void add_integers(std::string_view key, std::span<const std::int32_t> values);
  void add_numbers(std::string_view key, std::span<const float> values);
  void add_texts(std::string_view key, std::span<const std::string> values);
  /// The value that another file has under the key, byte for byte.
  void copy(std::string_view key, const GgufFile& from);

  /// Adds a tensor to the table; dims innermost first.
  void add_tensor(std::string_view name, std::span<const index_t> dims, GgmlType type);

  /// Writes the next bytes of the tensors, row after row, tensor after tensor in the order of the table. After the
  /// first bytes neither values nor tensors are added.
  void write(std::span<const std::byte> bytes);

  /// Puts the file in its place; every tensor has all its bytes.
  void finish();

 private:
  void add_key(std::string_view key, std::uint32_t kind);
  void add_array(std::string_view key, std::uint32_t kind, std::size_t count);
  void write_header();
  void pad();

  io::OutputFile file_;
  std::uint64_t values_ = 0;
  std::string metadata_;
  std::string table_;
  std::vector<std::uint64_t> tensor_bytes_;  // (tensors)
  std::uint64_t data_size_ = 0;              // of all tensors in the table, with their padding
  bool has_header_ = false;
  std::size_t tensor_ = 0;       // the one whose bytes come next
  std::uint64_t of_tensor_ = 0;  // bytes that it has
};

}  // namespace hack::model
