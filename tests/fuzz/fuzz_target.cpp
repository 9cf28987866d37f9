#include "tests/fuzz/fuzz_target.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <utility>

#include "tests/support/temporary_directory.hpp"

namespace hack::fuzz {

ScratchFile::ScratchFile(const std::string& name) : path_(scratch_folder() / name) {}

ScratchFile::~ScratchFile() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

void ScratchFile::write(std::string_view bytes) const {
  std::ofstream(path_, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::filesystem::path scratch_folder() {
  static const testing::TemporaryDirectory folder;  // in TMPDIR, which run.sh and ctest set to a file system in memory
  return folder.path();
}

void report_finding(const std::string& what) {
  std::fprintf(stderr, "finding: %s\n", what.c_str());
  std::abort();
}

namespace {

std::map<std::string, long>& counts() {
  static std::map<std::string, long> all;
  return all;
}

/// Two messages that differ in names, places and numbers alone are of one kind.
std::string kind_of(std::string_view message) {
  constexpr std::size_t longest = 80;
  static const std::string folder = std::regex_replace(scratch_folder().string(), std::regex(R"([.+])"), R"(\$&)");
  static const std::pair<std::regex, const char*> rules[] = {
      {std::regex(folder + "[^ :,)]*:? ?"), ""},
      {std::regex("'[^']*'"), "''"},
      {std::regex("matrix [^ :,]+: "), "matrix: "},
      {std::regex("[^ -~]+"), ""},
      {std::regex(R"(-?\b(nan|inf)\b|-?[0-9][0-9.]*(e[+-]?[0-9]+)?)"), "#"}};
  // std::regex calls itself for each character.
  std::string kind(message.substr(0, 1000));
  for (const auto& [what, by] : rules) kind = std::regex_replace(kind, what, by);
  return kind.substr(0, longest);
}

}  // namespace

void note_outcome(std::string_view message) { ++counts()[kind_of(message)]; }
const std::map<std::string, long>& outcomes() { return counts(); }

std::vector<std::string_view> sections_of(std::string_view bytes, std::size_t count) {
  std::vector<std::string_view> sections;
  while (sections.size() + 1 < count) {
    const std::size_t end = std::min(bytes.find(section_line), bytes.size());
    sections.push_back(bytes.substr(0, end));
    bytes.remove_prefix(std::min(bytes.size(), end + section_line.size()));
  }
  sections.push_back(bytes);
  return sections;
}

std::string joined(const std::vector<std::string>& sections) {
  std::string bytes;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    if (i > 0) bytes += section_line;
    bytes += sections[i];
  }
  return bytes;
}

}  // namespace hack::fuzz
