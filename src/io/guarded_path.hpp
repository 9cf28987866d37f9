#pragma once

#include <filesystem>
#include <utility>

namespace hack::io {

/// The name of a file that is to go with this process: a signal that ends it (SIGTERM from mpirun after another rank
/// died, Ctrl-C, a hang-up) or an abort removes the file. Leaving the scope does not.
class GuardedPath {
 public:
  /// An Error where the path is too long.
  explicit GuardedPath(const std::filesystem::path& path);
  ~GuardedPath() { release(); }
  GuardedPath(GuardedPath&& other) noexcept : slot_(std::exchange(other.slot_, -1)) {}
  GuardedPath& operator=(GuardedPath&&) = delete;

  /// Stops guarding it: the file may stay, or is somebody else's by now.
  void release();
  /// Guards it until the process ends, beyond this object's life.
  void keep() { slot_ = -1; }

  /// Removes every guarded file of this process; safe in a signal handler.
  static void remove_all() noexcept;

 private:
  int slot_ = -1;
};

}  // namespace hack::io
