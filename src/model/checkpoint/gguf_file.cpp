#include "model/checkpoint/gguf_file.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <regex>
#include <utility>

#include <fmt/core.h>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_kind.hpp"

static_assert(std::endian::native == std::endian::little, "files are little-endian and read without swapping");

namespace hack::model {

namespace {

/// Bytes of a value of fixed size; 0 for strings, arrays and unknown kinds.
std::uint64_t kind_bytes(std::uint32_t kind) {
  switch (kind) {
    case GgufKind::u8:
    case GgufKind::i8:
    case GgufKind::flag:
      return 1;
    case GgufKind::u16:
    case GgufKind::i16:
      return 2;
    case GgufKind::u32:
    case GgufKind::i32:
    case GgufKind::f32:
      return 4;
    case GgufKind::u64:
    case GgufKind::i64:
    case GgufKind::f64:
      return 8;
    default:
      return 0;
  }
}

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

/// The integer at `from`; unsigned 64-bit values are kept apart by the caller.
std::int64_t load_integer(std::uint32_t kind, const std::byte* from) {
  switch (kind) {
    case GgufKind::u8:
      return load<std::uint8_t>(from);
    case GgufKind::i8:
      return load<std::int8_t>(from);
    case GgufKind::u16:
      return load<std::uint16_t>(from);
    case GgufKind::i16:
      return load<std::int16_t>(from);
    case GgufKind::u32:
      return load<std::uint32_t>(from);
    case GgufKind::i32:
      return load<std::int32_t>(from);
    default:
      return load<std::int64_t>(from);
  }
}

bool is_integer(std::uint32_t kind) {
  return kind_bytes(kind) > 0 && kind != GgufKind::f32 && kind != GgufKind::f64 && kind != GgufKind::flag;
}

constexpr std::uint64_t largest_integer = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t longest_name = 1024;
constexpr std::uint64_t longest_key = 65535;
constexpr std::uint64_t largest_alignment = 1u << 20;

}  // namespace

/// Walks through the header; no read leaves the file.
class GgufFile::Reader {
 public:
  Reader(const io::MappedFile& file, std::uint64_t offset) : file_(&file), offset_(offset) {}

  std::uint64_t offset() const { return offset_; }

  const std::byte* take(std::uint64_t size) {
    const std::span<const std::byte> range = file_->bytes(offset_, size);
    offset_ += size;
    return range.data();
  }
  template <class T>
  T number() {
    return load<T>(take(sizeof(T)));
  }
  /// The characters stay in the file; they live as long as the map does.
  std::string_view text() {
    const auto size = number<std::uint64_t>();
    return {reinterpret_cast<const char*>(take(size)), static_cast<std::size_t>(size)};
  }
  std::string name(std::uint64_t longest, std::string_view what) {
    const std::string_view characters = text();
    validate(!characters.empty() && characters.size() <= longest,
             "{} is damaged (the name of a {} has {} bytes, 1 to {} expected)", file_->path(), what, characters.size(),
             longest);
    return std::string(characters);
  }

 private:
  const io::MappedFile* file_;
  std::uint64_t offset_;
};

namespace {

/// Of the parts of a split file: NAME-00001-of-00003.gguf.
std::filesystem::path part_path(const std::filesystem::path& path, std::size_t number, std::size_t count) {
  std::string name = path.filename().string();
  constexpr std::size_t tail = std::string_view("-00001-of-00003.gguf").size();
  name.replace(name.size() - tail, tail, fmt::format("-{:05}-of-{:05}.gguf", number, count));
  return path.parent_path() / name;
}

/// How many parts there are by a file's name; 0 where it is not called like a part.
std::size_t parts_by_name(const std::filesystem::path& path) {
  static const std::regex pattern(R"(.*-\d{5}-of-(\d{5})\.gguf)");
  std::smatch match;
  const std::string name = path.filename().string();
  return std::regex_match(name, match, pattern) ? std::stoul(match[1].str()) : 0;
}

std::filesystem::path first_part(const std::filesystem::path& path) {
  const std::size_t count = parts_by_name(path);
  if (count < 2) return path;
  const std::filesystem::path first = part_path(path, 1, count);
  return std::filesystem::exists(first) ? first : path;
}

}  // namespace

std::vector<std::filesystem::path> gguf_parts(const std::filesystem::path& path) {
  const std::size_t count = parts_by_name(path);
  if (count == 0) return {path};
  std::vector<std::filesystem::path> parts;
  for (std::size_t number = 1; number <= count; ++number) parts.push_back(part_path(path, number, count));
  return parts;
}

GgufFile::GgufFile(const std::filesystem::path& path) : GgufFile(first_part(path), Parts::all) {
  const std::int64_t count = find_integer("split.count").value_or(1);
  if (count <= 1) return;
  validate(
      find_integer("split.no").value_or(0) == 0 && std::cmp_equal(parts_by_name(file_.path()), count),
      "cannot use {} (it is one part of a model split into {}, and they are not called …-00001-of-{:05}.gguf and so "
      "on) fetch all of them, with their names",
      file_.path(), count, count);
  for (std::size_t number = 2; std::cmp_less_equal(number, count); ++number) {
    add_part(number, static_cast<std::size_t>(count));
  }
  const std::int64_t total = find_integer("split.tensors.count").value_or(std::ssize(tensors_));
  validate(total == std::ssize(tensors_), "{} is damaged (its parts have {} tensors, {} expected)", file_.path(),
           tensors_.size(), total);
}

void GgufFile::add_part(std::size_t number, std::size_t count) {
  const std::filesystem::path path = part_path(file_.path(), number, count);
  validate(std::filesystem::exists(path), "{} is incomplete (its part {} is missing) fetch it again", file_.path(),
           path.filename().string());
  GgufFile part(path, Parts::one);
  validate(std::cmp_equal(part.find_integer("split.no").value_or(-1), number - 1) &&
               std::cmp_equal(part.find_integer("split.count").value_or(-1), count),
           "{} does not belong to {} (it is not its part {} of {}) fetch them again", path.string(), file_.path(),
           number, count);
  for (auto& [name, tensor] : part.tensors_) {
    tensor.part = number - 1;
    validate(tensors_.emplace(name, tensor).second, "{} is damaged (tensor '{}' stands in an earlier part too)",
             path.string(), name);
  }
  other_parts_.push_back(std::move(part));
}

GgufFile::GgufFile(const std::filesystem::path& path, Parts) : file_(path) {
  Reader reader(file_, 0);
  validate(std::memcmp(reader.take(4), "GGUF", 4) == 0, "{} is not a GGUF file (it does not start with GGUF)",
           path.string());
  const auto version = reader.number<std::uint32_t>();
  validate(version == 2 || version == 3,
           "cannot read {} (GGUF version {}; versions 2 and 3, little-endian, are supported)", path.string(), version);
  const auto tensor_count = reader.number<std::uint64_t>();
  const auto value_count = reader.number<std::uint64_t>();
  read_values(reader, value_count);
  read_tensors(reader, tensor_count);

  const std::uint64_t alignment = static_cast<std::uint64_t>(find_integer("general.alignment").value_or(32));
  validate(alignment <= largest_alignment && std::has_single_bit(alignment),
           "{} is damaged (general.alignment is {}, a power of two expected)", path.string(), alignment);
  place_tensors((reader.offset() + alignment - 1) / alignment * alignment, alignment);
  file_.release(file_.bytes(0, reader.offset()));
}

// Counts come from the file: nothing is reserved from them, the loop ends where the file does.
void GgufFile::read_values(Reader& reader, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string key = reader.name(longest_key, "metadata key");
    const std::uint64_t begin = reader.offset();
    Value value = read_value(reader, reader.number<std::uint32_t>(), key);
    validate(!has(key), "{} is damaged (metadata key '{}' appears twice)", path(), key);
    values_.emplace(std::move(key), PlacedValue{std::move(value), begin, reader.offset()});
  }
}

GgufFile::Value GgufFile::read_value(Reader& reader, std::uint32_t type, const std::string& key) const {
  if (type == GgufKind::text) return std::string(reader.text());
  if (type == GgufKind::array) {
    Array array{};
    array.element_type = reader.number<std::uint32_t>();
    array.count = reader.number<std::uint64_t>();
    array.offset = reader.offset();
    const std::uint64_t size = kind_bytes(array.element_type);
    if (array.element_type == GgufKind::text) {
      for (std::uint64_t i = 0; i < array.count; ++i) reader.text();
    } else {
      validate(size > 0, "{} is damaged (metadata key '{}' is an array of type {}, not a known one)", path(), key,
               array.element_type);
      validate(array.count <= file_.size() / size,
               "{} is damaged (metadata key '{}' has {} elements, more than the file can hold)", path(), key,
               array.count);
      reader.take(array.count * size);
    }
    return array;
  }
  const std::uint64_t size = kind_bytes(type);
  validate(size > 0, "{} is damaged (metadata key '{}' is of type {}, not a known one)", path(), key, type);
  const std::byte* from = reader.take(size);
  if (type == GgufKind::flag) return load<std::uint8_t>(from) != 0;
  if (type == GgufKind::f32) return static_cast<double>(load<float>(from));
  if (type == GgufKind::f64) return load<double>(from);
  if (type == GgufKind::u64) return load<std::uint64_t>(from);
  return load_integer(type, from);
}

void GgufFile::read_tensors(Reader& reader, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string name = reader.name(longest_name, "tensor");
    GgufTensor tensor;
    const auto dims = reader.number<std::uint32_t>();
    validate(dims >= 1 && dims <= 4, "{} is damaged (tensor '{}' has {} dimensions, 1 to 4 expected)", path(), name,
             dims);
    std::uint64_t numbers = 1;
    for (std::uint32_t d = 0; d < dims; ++d) {
      const auto extent = reader.number<std::uint64_t>();
      validate(extent > 0 && extent <= largest_integer / 8 / numbers,
               "{} is damaged (tensor '{}' has a dimension of {})", path(), name, extent);
      numbers *= extent;
      tensor.dims.push_back(static_cast<index_t>(extent));
    }
    const auto code = reader.number<std::uint32_t>();
    const std::optional<GgmlType> type = ggml_type(code);
    if (!type) tensor.unknown_type = code;
    tensor.type = type.value_or(GgmlType::f32);
    validate(!type || tensor.dims[0] % block_size(*type) == 0,
             "{} is damaged (tensor '{}' has rows of {}, not a multiple of {}'s block of {})", path(), name,
             tensor.dims[0], to_string(tensor.type), block_size(tensor.type));
    tensor.offset = reader.number<std::uint64_t>();
    if (type) tensor.bytes = static_cast<std::uint64_t>(row_bytes(*type, static_cast<index_t>(numbers)));
    validate(tensors_.find(name) == tensors_.end(), "{} is damaged (tensor '{}' appears twice)", path(), name);
    tensors_.emplace(std::move(name), std::move(tensor));
  }
}

/// Turns offsets within the data into offsets within the file, and checks that all tensors lie in it, side by side.
void GgufFile::place_tensors(std::uint64_t data_start, std::uint64_t alignment) {
  std::vector<std::pair<std::uint64_t, const std::string*>> order;
  for (auto& [name, tensor] : tensors_) {
    validate(tensor.offset % alignment == 0,
             "{} is damaged (tensor '{}' starts at {}, not a multiple of the alignment {})", path(), name,
             tensor.offset, alignment);
    validate(data_start <= file_.size() && tensor.offset <= file_.size() - data_start &&
                 tensor.bytes <= file_.size() - data_start - tensor.offset,
             "{} is cut short or damaged (tensor '{}' needs {} bytes at {} of the data, the file has {} in all) fetch "
             "it again",
             path(), name, tensor.bytes, tensor.offset, file_.size());
    tensor.offset += data_start;
    order.emplace_back(tensor.offset, &name);
  }
  std::sort(order.begin(), order.end());
  for (std::size_t i = 1; i < order.size(); ++i) {
    const GgufTensor& before = tensors_.find(*order[i - 1].second)->second;
    validate(before.offset + before.bytes <= order[i].first, "{} is damaged (tensors '{}' and '{}' overlap)", path(),
             *order[i - 1].second, *order[i].second);
  }
}

const GgufFile::Value* GgufFile::find(std::string_view key) const {
  const auto at = values_.find(key);
  return at == values_.end() ? nullptr : &at->second.value;
}

std::vector<std::string> GgufFile::keys() const {
  std::vector<std::string> out;
  for (const auto& [key, value] : values_) out.push_back(key);
  return out;
}

std::span<const std::byte> GgufFile::value_bytes(std::string_view key) const {
  const auto at = values_.find(key);
  validate(at != values_.end(), "cannot use {} (it has no metadata key '{}')", path(), key);
  return file_.bytes(at->second.begin, at->second.end - at->second.begin);
}

std::optional<std::int64_t> GgufFile::find_integer(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return {};
  if (const auto* large = std::get_if<std::uint64_t>(value)) {
    validate(*large <= largest_integer, "{} is damaged (metadata key '{}' is {})", path(), key, *large);
    return static_cast<std::int64_t>(*large);
  }
  const auto* integer = std::get_if<std::int64_t>(value);
  validate(integer != nullptr, "cannot use {} (metadata key '{}' is not an integer)", path(), key);
  return *integer;
}

std::optional<double> GgufFile::find_number(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return {};
  if (const auto* number = std::get_if<double>(value)) return *number;
  validate(std::holds_alternative<std::int64_t>(*value) || std::holds_alternative<std::uint64_t>(*value),
           "cannot use {} (metadata key '{}' is not a number)", path(), key);
  return static_cast<double>(*find_integer(key));
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return {};
  validate(std::holds_alternative<bool>(*value), "cannot use {} (metadata key '{}' is not true or false)", path(), key);
  return std::get<bool>(*value);
}

std::optional<std::string> GgufFile::find_string(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return {};
  validate(std::holds_alternative<std::string>(*value), "cannot use {} (metadata key '{}' is not a text)", path(), key);
  return std::get<std::string>(*value);
}

const GgufFile::Array& GgufFile::array(std::string_view key) const {
  const Value* value = find(key);
  validate(value != nullptr, "cannot use {} (it has no metadata key '{}')", path(), key);
  validate(std::holds_alternative<Array>(*value), "cannot use {} (metadata key '{}' is not a list)", path(), key);
  return std::get<Array>(*value);
}

std::vector<std::string> GgufFile::strings(std::string_view key) const {
  const Array& from = array(key);
  validate(from.element_type == GgufKind::text, "cannot use {} (metadata key '{}' is not a list of texts)", path(),
           key);
  Reader reader(file_, from.offset);
  std::vector<std::string> out;
  out.reserve(static_cast<std::size_t>(from.count));  // the constructor has walked over all of them
  for (std::uint64_t i = 0; i < from.count; ++i) out.emplace_back(reader.text());
  return out;
}

std::vector<std::int64_t> GgufFile::integers(std::string_view key) const {
  const Array& from = array(key);
  validate(is_integer(from.element_type), "cannot use {} (metadata key '{}' is not a list of integers)", path(), key);
  Reader reader(file_, from.offset);
  std::vector<std::int64_t> out(static_cast<std::size_t>(from.count));
  for (std::int64_t& x : out) {
    x = load_integer(from.element_type, reader.take(kind_bytes(from.element_type)));
    validate(from.element_type != GgufKind::u64 || x >= 0,
             "{} is damaged (metadata key '{}' holds a number above 2^63)", path(), key);
  }
  return out;
}

std::vector<double> GgufFile::numbers(std::string_view key) const {
  const Array& from = array(key);
  if (is_integer(from.element_type)) {
    const std::vector<std::int64_t> whole = integers(key);
    return {whole.begin(), whole.end()};
  }
  validate(from.element_type == GgufKind::f32 || from.element_type == GgufKind::f64,
           "cannot use {} (metadata key '{}' is not a list of numbers)", path(), key);
  Reader reader(file_, from.offset);
  std::vector<double> out(static_cast<std::size_t>(from.count));
  for (double& x : out) x = from.element_type == GgufKind::f32 ? reader.number<float>() : reader.number<double>();
  return out;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto at = tensors_.find(name);
  return at == tensors_.end() ? nullptr : &at->second;
}

}  // namespace hack::model
