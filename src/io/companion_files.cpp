#include "io/companion_files.hpp"

#include <exception>
#include <string>
#include <system_error>

namespace hack::io {
namespace {

std::vector<std::filesystem::path> companions_of(const std::filesystem::path& file) {
  std::vector<std::filesystem::path> found;
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  const std::string name = file.filename().string();
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string other = entry.path().filename().string();
    const bool is_lock = other.starts_with(name + "-") && other.ends_with(".lock");
    if (is_lock || other.starts_with(name + ".locktest.")) found.push_back(entry.path());
  }
  return found;
}

}  // namespace

CompanionFiles::~CompanionFiles() {
  if (std::uncaught_exceptions() == 0) return;
  for (GuardedPath& guard : guards_) guard.keep();
}

void CompanionFiles::remove(const std::filesystem::path& file) {
  std::error_code ignored;
  for (const std::filesystem::path& path : companions_of(file)) std::filesystem::remove(path, ignored);
}

void CompanionFiles::guard(const std::filesystem::path& file) {
  constexpr std::size_t most = 4;  // there is one; guards are few
  for (const std::filesystem::path& path : companions_of(file)) {
    if (guards_.size() < most) guards_.emplace_back(path);
  }
}

}  // namespace hack::io
