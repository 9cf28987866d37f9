#include "io/record_file.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "io/digest.hpp"
#include "io/durable_file.hpp"
#include "io/json_text.hpp"
#include "kernels/error.hpp"

namespace hack::io {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t digest_size = sizeof(std::uint64_t);
constexpr std::size_t frame_size = 2 * sizeof(std::uint64_t) + digest_size;
constexpr std::size_t longest_line = 1 << 20;
constexpr std::size_t piece_size = 1 << 20;

/// Before the key.
std::string beginning(std::string_view kind) { return fmt::format("hack-records 1 {} ", kind); }

std::string dump(const nlohmann::json& key) {
  return key.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

template <class T>
std::span<const std::byte> bytes_of(const T& values) {
  return std::as_bytes(std::span(values));
}

std::uintmax_t size_of(const fs::path& path) {
  std::error_code missing;
  const std::uintmax_t size = fs::file_size(path, missing);
  return missing ? 0 : size;
}

/// The next `size` bytes of a file, or those up to its end.
std::string read_text(std::ifstream& file, std::size_t size) {
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

}  // namespace

RecordFile::RecordFile(fs::path path, std::string_view kind, const nlohmann::json& key)
    : path_(std::move(path)), key_(dump(key)), line_(beginning(kind) + key_ + "\n") {
  identify(kind);
  if (owner_ == Owner::this_work) scan();
}

void RecordFile::identify(std::string_view kind) {
  std::ifstream file(path_, std::ios::binary);
  const std::string start = read_text(file, line_.size());
  if (start == line_) {
    owner_ = Owner::this_work;
    return;
  }
  if (line_.starts_with(start)) return;  // missing, empty, or the run was killed while it wrote the first line
  owner_ = Owner::other_program;
  if (!start.starts_with(beginning(kind))) return;
  file.clear();
  file.seekg(0);
  const std::string more = read_text(file, longest_line);
  const std::size_t end = more.find('\n');
  if (end == std::string::npos) return;
  const std::string found = more.substr(beginning(kind).size(), end - beginning(kind).size());
  try {
    parse_json(found, path_.string());
  } catch (const Error&) {
    return;
  }
  owner_ = Owner::other_work;
  found_key_ = found;
}

/// Finds the records whose frames are sound; each frame says where the next one is.
void RecordFile::scan() {
  const std::uintmax_t size = size_of(path_);
  std::ifstream file(path_, std::ios::binary);
  for (;;) {
    const std::uintmax_t place = end();
    if (size < place || size - place < frame_size + digest_size) return;
    std::array<std::uint64_t, 3> frame;  // length of the name, of the content, digest
    file.seekg(static_cast<std::streamoff>(place));
    file.read(reinterpret_cast<char*>(frame.data()), frame_size);
    const std::uintmax_t left = size - place - frame_size - digest_size;
    if (!file || frame[0] > left || frame[1] > left - frame[0]) return;
    std::string name = read_text(file, frame[0]);
    if (name.size() != frame[0] || frame_digest(place, name, frame[1]) != frame[2]) return;
    records_.push_back({std::move(name), place + frame_size + frame[0], frame[1], frame[2]});
  }
}

nlohmann::json RecordFile::found_key() const { return nlohmann::json::parse(found_key_, nullptr, false); }

std::string RecordFile::difference() const {
  const nlohmann::json theirs = found_key();
  const nlohmann::json ours = nlohmann::json::parse(key_);
  std::string text;
  if (ours.is_object()) {
    for (const auto& [name, value] : ours.items()) {
      const nlohmann::json other = theirs.is_object() ? theirs.value(name, nlohmann::json()) : nlohmann::json();
      if (other == value) continue;
      text += fmt::format("{}{} is {}, here {}", text.empty() ? "" : "; ", name, dump(other), dump(value));
    }
  }
  return text.empty() ? "it was written with other options" : text;
}

std::uintmax_t RecordFile::end() const {
  return records_.empty() ? line_.size() : records_.back().begin + records_.back().length + digest_size;
}

/// Binds a record to the key and to its place: records of another file, or moved ones, are none of this.
std::uint64_t RecordFile::frame_digest(std::uintmax_t place, const std::string& name, std::size_t length) const {
  const std::array<std::uint64_t, 3> numbers = {place, name.size(), length};
  Digest digest;
  digest.add(bytes_of(line_));
  digest.add(bytes_of(numbers));
  digest.add(bytes_of(name));
  return digest.value();
}

std::optional<index_t> RecordFile::find(std::string_view name) const {
  for (index_t i = size() - 1; i >= 0; --i) {
    if (at(i).name == name) return i;
  }
  return std::nullopt;
}

std::optional<std::string> RecordFile::read(index_t record) const {
  // A frame never promises more than the file had; the file may have been cut since.
  if (size_of(path_) < at(record).begin + length(record)) return std::nullopt;
  std::string content(length(record), '\0');
  if (!read(record, std::as_writable_bytes(std::span(content)))) return std::nullopt;
  return content;
}

bool RecordFile::read(index_t record, std::span<std::byte> content) const {
  HACK_EXPECT(content.size() == length(record));
  std::ifstream file(path_, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at(record).begin));
  Digest digest;
  digest.add(bytes_of(std::array{at(record).digest}));
  while (!content.empty()) {
    const std::span<std::byte> piece = content.first(std::min(content.size(), piece_size));
    file.read(reinterpret_cast<char*>(piece.data()), static_cast<std::streamsize>(piece.size()));
    digest.add(piece);
    content = content.subspan(piece.size());
  }
  std::uint64_t found = 0;
  file.read(reinterpret_cast<char*>(&found), sizeof(found));
  return file.good() && found == digest.value();
}

void RecordFile::append(const std::string& name, std::string_view content, Durable durable) {
  append(name, Pieces{bytes_of(content)}, durable);
}

void RecordFile::append(const std::string& name, const Pieces& content, Durable durable) {
  HACK_EXPECT(owner_ == Owner::nobody || owner_ == Owner::this_work);
  const bool is_new = owner_ == Owner::nobody;
  const std::uintmax_t place = end();
  if (!is_new && size_of(path_) != place) fs::resize_file(path_, place);  // what a killed run left of a record
  std::size_t length = 0;
  for (const std::span<const std::byte> piece : content) length += piece.size();
  const std::uint64_t frame = frame_digest(place, name, length);
  Digest digest;
  digest.add(bytes_of(std::array{frame}));
  DurableFile file(path_, is_new ? DurableFile::Begin::empty : DurableFile::Begin::at_end);
  if (is_new) file.write(line_);
  file.write(bytes_of(std::array<std::uint64_t, 3>{name.size(), length, frame}));
  file.write(name);
  for (const std::span<const std::byte> piece : content) {
    digest.add(piece);
    file.write(piece);
  }
  file.write(bytes_of(std::array{digest.value()}));
  if (durable == Durable::on_return || !since_flush_ || since_flush_->seconds() >= 1) {
    file.flush();
    since_flush_.emplace();
  }
  owner_ = Owner::this_work;
  records_.push_back({name, place + frame_size + name.size(), length, frame});
}

void RecordFile::truncate(index_t count) {
  HACK_EXPECT(count >= 0 && count <= size());
  if (count == size()) return;
  records_.resize(static_cast<std::size_t>(count));
  fs::resize_file(path_, end());
}

void RecordFile::clear() {
  records_.clear();
  owner_ = Owner::nobody;
}

}  // namespace hack::io
