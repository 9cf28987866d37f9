#include "io/temporary_file.hpp"

#include <unistd.h>

#include <system_error>

#include "kernels/error.hpp"

namespace hack::io {
bool is_stream(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status)) return true;
  // What a name there stands for, a file that a shell has opened among it, is not to be replaced.
  const std::string name = path.lexically_normal().string();
  return name.starts_with("/proc/") || (name.starts_with("/dev/") && !name.starts_with("/dev/shm/"));
}

std::filesystem::path target_of(std::filesystem::path path) {
  constexpr int most = 40;  // as Linux does, lest links go round
  std::error_code error;
  for (int i = 0; i < most && !is_stream(path) && std::filesystem::is_symlink(path, error); ++i) {
    path = path.parent_path() / std::filesystem::read_symlink(path);
  }
  return path;
}

std::filesystem::path place_of(const std::filesystem::path& path) {
  std::filesystem::path place = target_of(path);
  const std::filesystem::path folder = place.has_parent_path() ? place.parent_path() : ".";
  validate(std::filesystem::is_directory(folder), "cannot write {} (there is no folder {}); make it first",
           place.string(), folder.string());
  validate(access(folder.c_str(), W_OK) == 0, "cannot write {} (the folder {} is not writable)", place.string(),
           folder.string());
  validate(!std::filesystem::is_directory(place), "cannot write {} (it is a folder); name a file", place.string());
  validate(!is_stream(place), "cannot write {} (it is a pipe or a device); name a file", place.string());
  return place;
}

TemporaryFile::TemporaryFile(const std::filesystem::path& final_path)
    : final_path_(place_of(final_path)), path_(final_path_.string() + std::string(temporary_ending)), guard_(path_) {}

TemporaryFile::~TemporaryFile() {
  if (!is_ours_) return;
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

void TemporaryFile::rename_to_final() {
  std::error_code error;
  std::filesystem::rename(path_, final_path_, error);
  validate(!error, "cannot rename {} to {} ({})", path_.string(), final_path_.string(), error.message());
  release();
}

void TemporaryFile::release() {
  guard_.release();
  is_ours_ = false;
}

}  // namespace hack::io
