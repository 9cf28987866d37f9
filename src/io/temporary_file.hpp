#pragma once

#include <filesystem>

namespace hack::io {

/// A result in the making: written under `final_path` + ".tmp", renamed when whole. Whatever ends the run before that
/// (an exception, an abort, SIGTERM from mpirun after another rank died, Ctrl-C) removes it.
class TemporaryFile {
 public:
  /// An Error if the folder of `final_path` does not exist or cannot be written.
  explicit TemporaryFile(std::filesystem::path final_path);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Puts the whole file in its place. Only one rank calls it, after all have closed the file.
  void rename_to_final();
  /// Stops guarding it: another rank has renamed it.
  void release();

  /// Removes every guarded file of this process; safe in a signal handler.
  static void remove_all() noexcept;

 private:
  std::filesystem::path final_path_;
  std::filesystem::path path_;
  int slot_ = -1;
};

}  // namespace hack::io
