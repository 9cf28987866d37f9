#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "io/guarded_path.hpp"

namespace hack::io {

/// Behind the name of an output while a run writes it.
inline constexpr std::string_view lock_ending = ".hack-lock";

/// The right to write an output, which one process has at a time: a lock (F_OFD_SETLK) on OUTPUT + `lock_ending`. The
/// system gives it back when the process ends, however it ends, so that the lock of a run that was killed stops nobody.
/// It reaches as far as the file system's locks do, which on most clusters is every node. The file goes with the lock;
/// where a run was killed with all its ranks it stays, and the next run takes it over.
///
/// On file systems without locks, and under HDF5_USE_FILE_LOCKING=FALSE (by which users tell HDF5 of such a file
/// system), whoever asks is let through.
class OutputLock {
 public:
  /// Takes the lock, or returns null where another process has it. The folder of `output` must be there. An Error where
  /// no file can be made in it.
  static std::unique_ptr<OutputLock> take(const std::filesystem::path& output);
  /// Gives it back; where an exception passes, only as the process ends: other ranks may still be writing.
  ~OutputLock();
  OutputLock(const OutputLock&) = delete;
  OutputLock& operator=(const OutputLock&) = delete;

  /// Whether others are kept out.
  bool is_held() const { return file_ >= 0; }

  /// The file that is locked for `output`, at the end of its links.
  static std::filesystem::path path_of(const std::filesystem::path& output);
  /// Who has the lock of `output`: "process 12 on node3".
  static std::string holder_of(const std::filesystem::path& output);

 private:
  OutputLock() = default;

  std::filesystem::path path_;
  int file_ = -1;
  int exceptions_ = 0;
  std::optional<GuardedPath> guard_;
};

}  // namespace hack::io
