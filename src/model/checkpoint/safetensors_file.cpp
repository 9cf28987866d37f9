#include "model/checkpoint/safetensors_file.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "io/json_text.hpp"
#include "kernels/error.hpp"
#include "model/checkpoint/json_object.hpp"

namespace hack::model {

namespace {

/// Bytes of one number of the types whose sizes are known; 0 for others.
std::uint64_t type_bytes(std::string_view type) {
  constexpr std::pair<std::string_view, std::uint64_t> sizes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8},
                                                                  {"I64", 8}, {"I32", 4}, {"I16", 2},  {"I8", 1},
                                                                  {"U8", 1},  {"BOOL", 1}};
  for (const auto& [name, bytes] : sizes) {
    if (name == type) return bytes;
  }
  return 0;
}

/// Bytes that a shape takes; an Error where that overflows.
std::uint64_t span_bytes(const SafetensorsEntry& entry, std::uint64_t element, const std::string& where) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  std::uint64_t bytes = element;
  for (const index_t extent : entry.shape) {
    const auto n = static_cast<std::uint64_t>(extent);
    validate(n == 0 || bytes <= most / n, "{} is damaged (its shape overflows)", where);
    bytes *= n;
  }
  return bytes;
}

/// `data_start`, `data_size`: where the tensors' bytes lie in the file.
SafetensorsEntry read_entry(const JsonObject& json, std::uint64_t data_start, std::uint64_t data_size) {
  SafetensorsEntry out;
  out.type = json.string("dtype");
  validate(json.find("shape") != nullptr && json.find("shape")->is_array(), "{} is damaged ('shape' is not a list)",
           json.where());
  for (const std::int64_t extent : json.integers("shape")) {
    validate(extent >= 0, "{} is damaged (a dimension of {})", json.where(), extent);
    out.shape.push_back(extent);
  }
  const std::vector<std::int64_t> offsets = json.integers("data_offsets");
  validate(offsets.size() == 2 && offsets[0] >= 0 && offsets[0] <= offsets[1] &&
               static_cast<std::uint64_t>(offsets[1]) <= data_size,
           "{} is cut short or damaged (its data_offsets do not lie in the {} bytes of data) fetch the file again",
           json.where(), data_size);
  out.offset = data_start + static_cast<std::uint64_t>(offsets[0]);
  out.bytes = static_cast<std::uint64_t>(offsets[1] - offsets[0]);
  const std::uint64_t element = type_bytes(out.type);
  if (element > 0) {
    const std::uint64_t expected = span_bytes(out, element, json.where());
    validate(expected == out.bytes, "{} is damaged (shape and type need {} bytes, data_offsets span {})", json.where(),
             expected, out.bytes);
  }
  return out;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, file_.bytes(0, sizeof header_size).data(), sizeof header_size);
  const std::span<const std::byte> header = file_.bytes(sizeof header_size, header_size);
  const std::uint64_t data_start = sizeof header_size + header_size;
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  const nlohmann::json parsed = io::parse_json(text, "the header of " + this->path());
  validate(parsed.is_object(), "{} is damaged (its header is not a JSON object)", this->path());
  for (const auto& [name, value] : parsed.items()) {
    if (name == "__metadata__") continue;
    const JsonObject json(value, "tensor '" + name + "' of " + this->path());
    entries_.emplace(name, read_entry(json, data_start, file_.size() - data_start));
  }
  check_places(data_start);
  file_.release(header);
}

/// Tensors stand side by side: none overlaps another, and no byte belongs to none (as in the format's own reader).
void SafetensorsFile::check_places(std::uint64_t data_start) const {
  std::vector<std::pair<std::uint64_t, const std::string*>> order;
  for (const auto& [name, entry] : entries_) {
    if (entry.bytes > 0) order.emplace_back(entry.offset, &name);
  }
  std::sort(order.begin(), order.end());
  for (std::size_t i = 1; i < order.size(); ++i) {
    const SafetensorsEntry& before = entries_.find(*order[i - 1].second)->second;
    validate(before.offset + before.bytes <= order[i].first, "{} is damaged (tensors '{}' and '{}' overlap)", path(),
             *order[i - 1].second, *order[i].second);
  }
  std::uint64_t end = data_start;
  for (const auto& [offset, name] : order) {
    validate(offset == end, "{} is damaged ({} bytes before tensor '{}' belong to none) fetch it again", path(),
             offset - end, *name);
    end = offset + entries_.find(*name)->second.bytes;
  }
  validate(end == file_.size(), "{} is damaged (its last {} bytes belong to no tensor) fetch it again", path(),
           file_.size() - end);
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto at = entries_.find(name);
  return at == entries_.end() ? nullptr : &at->second;
}

}  // namespace hack::model
