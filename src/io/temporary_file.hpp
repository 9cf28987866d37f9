#pragma once

#include <filesystem>
#include <string_view>

#include "io/guarded_path.hpp"

namespace hack::io {

/// Behind the name of a file while it is being written. The program's own: a user's files are not named so.
inline constexpr std::string_view temporary_ending = ".hack-tmp";

/// Whether a path names a pipe, a device or whatever else is no file that could be replaced by another. Files in
/// /dev/shm are files.
bool is_stream(const std::filesystem::path& path);

/// Where the links of a path end, which need not exist: the links are to stay.
std::filesystem::path target_of(std::filesystem::path path);

/// Where a file of this name would be put: the end of its links. An Error if the folder there does not exist or cannot
/// be written, or if the name is a folder's or a stream's. Changes nothing.
std::filesystem::path place_of(const std::filesystem::path& path);

/// A result in the making: written under `final_path` + `temporary_ending`, renamed when whole. Whatever ends the run
/// before that (an exception, an abort, SIGTERM from mpirun after another rank died, Ctrl-C) removes it. A link stays a
/// link: the file that it leads to is written.
class TemporaryFile {
 public:
  /// An Error as of place_of().
  explicit TemporaryFile(const std::filesystem::path& final_path);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Puts the whole file in its place. Only one rank calls it, after all have closed the file.
  void rename_to_final();
  /// Stops guarding it: another rank has renamed it.
  void release();

 private:
  std::filesystem::path final_path_;
  std::filesystem::path path_;
  GuardedPath guard_;
  bool is_ours_ = true;
};

}  // namespace hack::io
