#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.hpp"

namespace hack::fuzz {

/// One reader of bytes that come from outside. Each program of this folder defines target(), once.
struct Target {
  std::string_view name;
  /// Files as they should be, and a few as they should not: where mutations begin.
  std::vector<std::string> (*seeds)();
  /// Gives the bytes to the reader. Whatever it says must be an Error that names the file; anything else that is thrown
  /// is a finding, as what the sanitizers see is.
  void (*read)(std::string_view bytes);
  /// Makes an input with a structure from random numbers, for readers whose digests refuse nearly every change of
  /// bytes.
  std::string (*make)(std::mt19937_64& random) = nullptr;
};
const Target& target();

/// A file in memory whose content changes.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& name);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void write(std::string_view bytes) const;

 private:
  std::filesystem::path path_;
};

/// A folder in memory, for readers of several files.
std::filesystem::path scratch_folder();

/// Ends the program, as a finding.
[[noreturn]] void report_finding(const std::string& what);

/// Counts how a reading ended: "accepted", or the message of an Error without its names and numbers.
void note_outcome(std::string_view message);
const std::map<std::string, long>& outcomes();

/// Whether `read` accepts; an Error that does not name the file is a finding.
template <class F>
bool accepts(const std::filesystem::path& file, F read) {
  try {
    read();
    note_outcome("accepted");
    return true;
  } catch (const Error& error) {
    if (std::string_view(error.what()).find(file.string()) == std::string_view::npos) {
      report_finding(std::string("an Error that does not name ") + file.string() + ": " + error.what());
    }
    note_outcome(error.what());
    return false;
  }
}

/// Several files in one input, with this line between them.
inline constexpr std::string_view section_line = "\n=====\n";
std::vector<std::string_view> sections_of(std::string_view bytes, std::size_t count);
std::string joined(const std::vector<std::string>& sections);

/// Numbers taken off the front of an input; zeros where it has ended.
class Numbers {
 public:
  explicit Numbers(std::string_view bytes) : bytes_(bytes) {}

  bool at_end() const { return bytes_.empty(); }
  template <class T>
  T get() {
    T value{};
    const std::size_t size = std::min(sizeof(T), bytes_.size());
    if (size > 0) std::memcpy(&value, bytes_.data(), size);
    bytes_.remove_prefix(size);
    return value;
  }
  /// In [0, count).
  std::size_t below(std::size_t count) { return get<std::uint16_t>() % count; }
  std::string_view rest() const { return bytes_; }

 private:
  std::string_view bytes_;
};

}  // namespace hack::fuzz
