#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/checkpoint/ggml_blocks.hpp"

namespace hack::testing {

/// A growing string of little-endian bytes.
class ByteString {
 public:
  template <class T>
  ByteString& add(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  /// 8 bytes length, then the characters.
  ByteString& add_text(const std::string& text) {
    add(static_cast<std::uint64_t>(text.size()));
    return add_bytes(text);
  }
  ByteString& add_bytes(const std::string& bytes) {
    bytes_ += bytes;
    return *this;
  }
  void pad(std::size_t alignment) { bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/// Collects metadata and tensors and puts them together as a GGUF file of version 3.
class GgufWriter {
 public:
  explicit GgufWriter(std::uint32_t alignment = 32);

  void add_integer(const std::string& key, std::uint32_t value);
  void add_number(const std::string& key, float value);
  void add_flag(const std::string& key, bool value);
  void add_text(const std::string& key, const std::string& value);
  void add_integers(const std::string& key, const std::vector<std::int32_t>& values);
  void add_numbers(const std::string& key, const std::vector<float>& values);
  void add_texts(const std::string& key, const std::vector<std::string>& values);

  /// A value as GgufFile::value_bytes() has it.
  void add_value(const std::string& key, const std::string& bytes);

  /// dims innermost first; `bytes` as `encode` makes them.
  void add_tensor(const std::string& name, const std::vector<index_t>& dims, model::GgmlType type, std::string bytes);

  /// The whole file.
  std::string bytes() const;
  /// Bytes before the tensors' data, without the padding.
  std::size_t header_size() const;

 private:
  struct Tensor {
    std::string name;
    std::vector<index_t> dims;
    model::GgmlType type;
    std::string bytes;
  };

  ByteString& add_key(const std::string& key, std::uint32_t kind);
  ByteString header() const;

  std::uint32_t alignment_;
  std::uint64_t values_ = 0;
  ByteString metadata_;
  std::vector<Tensor> tensors_;
};

/// Encodes n numbers (n a multiple of the block). F32, F16, BF16, Q8_0, Q4_0 and Q4_1 hold x as well as they can; the
/// K-quants get random blocks whose numbers are about as large as x's, drawn from `seed`.
std::string encode(model::GgmlType type, const float* x, index_t n, std::uint64_t seed);

}  // namespace hack::testing
