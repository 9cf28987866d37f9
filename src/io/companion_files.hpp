#pragma once

#include <filesystem>
#include <vector>

#include "io/guarded_path.hpp"

namespace hack::io {

/// Files that Open MPI puts beside one that ranks of several nodes write together (FILE-JOB-PROCESS.lock,
/// FILE.locktest.N), and leaves there where it is killed.
class CompanionFiles {
 public:
  CompanionFiles() = default;
  /// Where an exception passes they stay guarded: the file is open still, and the run about to be ended.
  ~CompanionFiles();
  CompanionFiles(const CompanionFiles&) = delete;
  CompanionFiles& operator=(const CompanionFiles&) = delete;

  /// Removes what an earlier run has left beside `file`. By one rank, before the file is opened.
  static void remove(const std::filesystem::path& file);

  /// Has them removed by whatever ends this process, as long as this object lives. Once the file is open.
  void guard(const std::filesystem::path& file);

 private:
  std::vector<GuardedPath> guards_;
};

}  // namespace hack::io
