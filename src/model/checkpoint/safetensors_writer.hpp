#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/output_file.hpp"
#include "kernels/dtype.hpp"

namespace hack::model {

/// Writes a safetensors file: a header with all tensors, then their bytes from the first tensor to the last. The file
/// takes its place in finish(), when all of it is there.
class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(const std::filesystem::path& path) : file_(path) {}

  /// Adds a tensor to the header; shape outermost first. Names are different.
  void add_tensor(std::string_view name, std::span<const index_t> shape, DType type);
  /// The same of numbers that take `bytes` each, of a type as the format spells it: "I32", "U8", …
  void add_tensor(std::string_view name, std::span<const index_t> shape, std::string_view type, index_t bytes);

  /// Writes the next bytes of the tensors, in the order in which these were added. After the first bytes none is added.
  void write(std::span<const std::byte> bytes);

  /// Puts the file in its place; every tensor has all its bytes.
  void finish();

 private:
  struct Tensor {
    std::string name;
    std::vector<index_t> shape;
    std::string type;
    std::uint64_t begin;
    std::uint64_t end;
  };

  void write_header();

  io::OutputFile file_;
  std::vector<Tensor> tensors_;
  std::uint64_t data_size_ = 0;   // of all tensors
  std::uint64_t data_begin_ = 0;  // in the file; 0 before there is a header
};

}  // namespace hack::model
