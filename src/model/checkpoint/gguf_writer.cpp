#include "model/checkpoint/gguf_writer.hpp"

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/checkpoint/gguf_kind.hpp"

namespace hack::model {
namespace {

constexpr std::uint32_t version = 3;

template <class T>
void append(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// 8 bytes length, then the characters.
void append_text(std::string& to, std::string_view text) {
  append(to, static_cast<std::uint64_t>(text.size()));
  to.append(text);
}

}  // namespace

void GgufWriter::add_key(std::string_view key, std::uint32_t kind) {
  HACK_EXPECT(!has_header_);
  ++values_;
  append_text(metadata_, key);
  append(metadata_, kind);
}

void GgufWriter::add_array(std::string_view key, std::uint32_t kind, std::size_t count) {
  add_key(key, GgufKind::array);
  append(metadata_, kind);
  append(metadata_, static_cast<std::uint64_t>(count));
}

void GgufWriter::add_integer(std::string_view key, std::uint32_t value) {
  add_key(key, GgufKind::u32);
  append(metadata_, value);
}

void GgufWriter::add_number(std::string_view key, float value) {
  add_key(key, GgufKind::f32);
  append(metadata_, value);
}

void GgufWriter::add_flag(std::string_view key, bool value) {
  add_key(key, GgufKind::flag);
  append(metadata_, static_cast<std::uint8_t>(value ? 1 : 0));
}

void GgufWriter::add_text(std::string_view key, std::string_view value) {
  add_key(key, GgufKind::text);
  append_text(metadata_, value);
}

void GgufWriter::add_integers(std::string_view key, std::span<const std::int32_t> values) {
  add_array(key, GgufKind::i32, values.size());
  for (const std::int32_t value : values) append(metadata_, value);
}

void GgufWriter::add_numbers(std::string_view key, std::span<const float> values) {
  add_array(key, GgufKind::f32, values.size());
  for (const float value : values) append(metadata_, value);
}

void GgufWriter::add_texts(std::string_view key, std::span<const std::string> values) {
  add_array(key, GgufKind::text, values.size());
  for (const std::string& value : values) append_text(metadata_, value);
}

void GgufWriter::copy(std::string_view key, const GgufFile& from) {
  HACK_EXPECT(!has_header_);
  ++values_;
  append_text(metadata_, key);
  const std::span<const std::byte> bytes = from.value_bytes(key);
  metadata_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void GgufWriter::add_tensor(std::string_view name, std::span<const index_t> dims, GgmlType type) {
  HACK_EXPECT(!has_header_ && !dims.empty() && dims[0] % block_size(type) == 0);
  append_text(table_, name);
  append(table_, static_cast<std::uint32_t>(dims.size()));
  index_t numbers = 1;
  for (const index_t extent : dims) {
    append(table_, static_cast<std::uint64_t>(extent));
    numbers *= extent;
  }
  append(table_, static_cast<std::uint32_t>(type));
  append(table_, data_size_);
  tensor_bytes_.push_back(static_cast<std::uint64_t>(row_bytes(type, numbers)));
  data_size_ += (tensor_bytes_.back() + alignment - 1) / alignment * alignment;
}

void GgufWriter::write_header() {
  std::string start = "GGUF";
  append(start, version);
  append(start, static_cast<std::uint64_t>(tensor_bytes_.size()));
  append(start, values_);
  file_.write(start);
  file_.write(metadata_);
  file_.write(table_);
  pad();
  has_header_ = true;
}

void GgufWriter::pad() {
  const std::uint64_t over = file_.size() % alignment;
  if (over > 0) file_.write(std::string(static_cast<std::size_t>(alignment - over), '\0'));
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  if (!has_header_) write_header();
  if (bytes.empty()) return;
  HACK_EXPECT(tensor_ < tensor_bytes_.size() && bytes.size() <= tensor_bytes_[tensor_] - of_tensor_);
  file_.write(bytes);
  of_tensor_ += bytes.size();
  if (of_tensor_ < tensor_bytes_[tensor_]) return;
  pad();
  ++tensor_;
  of_tensor_ = 0;
}

void GgufWriter::finish() {
  if (!has_header_) write_header();
  HACK_EXPECT(tensor_ == tensor_bytes_.size());
  file_.finish();
}

}  // namespace hack::model
