#include "io/output_lock.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>

#include <fmt/core.h>

#include "io/temporary_file.hpp"
#include "kernels/error.hpp"

namespace hack::io {
namespace {

enum class Attempt { locked, taken, no_locks, vanished };

/// The user's word on HDF5's locks goes for these too.
bool locks_are_switched_off() {
  const char* const word = std::getenv("HDF5_USE_FILE_LOCKING");
  return word != nullptr && (std::strcmp(word, "FALSE") == 0 || std::strcmp(word, "0") == 0);
}

/// Locks an open file. The one who had it before removes the name first and then unlocks, so that a lock counts only
/// where the name still leads to the file.
Attempt lock(int file, const std::filesystem::path& path) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (fcntl(file, F_OFD_SETLK, &whole) != 0) {
    return errno == EAGAIN || errno == EACCES ? Attempt::taken : Attempt::no_locks;
  }
  struct stat named {
  }, locked{};
  const bool is_same = stat(path.c_str(), &named) == 0 && fstat(file, &locked) == 0 && named.st_ino == locked.st_ino &&
                       named.st_dev == locked.st_dev;
  return is_same ? Attempt::locked : Attempt::vanished;
}

void write_holder(int file) {
  char host[256] = {};
  gethostname(host, sizeof(host) - 1);
  const std::string holder = fmt::format("process {} on {}\n", getpid(), host);
  // For messages alone: without it they say less.
  if (ftruncate(file, 0) == 0 && write(file, holder.data(), holder.size()) < 0) return;
}

}  // namespace

std::filesystem::path OutputLock::path_of(const std::filesystem::path& output) {
  std::string place = target_of(output).string();
  while (place.size() > 1 && place.back() == '/') place.pop_back();
  return place + std::string(lock_ending);
}

std::unique_ptr<OutputLock> OutputLock::take(const std::filesystem::path& output) {
  std::unique_ptr<OutputLock> result(new OutputLock);
  if (locks_are_switched_off()) return result;
  result->path_ = path_of(output);
  for (;;) {
    const int file = open(result->path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    validate(file >= 0, "cannot write {} ({}); make room, or name another place", result->path_.string(),
             std::strerror(errno));
    switch (lock(file, result->path_)) {
      case Attempt::locked:
        write_holder(file);
        result->file_ = file;
        result->exceptions_ = std::uncaught_exceptions();
        result->guard_.emplace(result->path_);
        return result;
      case Attempt::taken:
        close(file);
        return nullptr;
      case Attempt::no_locks:
        unlink(result->path_.c_str());
        close(file);
        return result;
      case Attempt::vanished:
        close(file);  // and once more, with the next one's
    }
  }
}

OutputLock::~OutputLock() {
  if (!is_held()) return;
  if (std::uncaught_exceptions() > exceptions_) {
    guard_->keep();
    return;
  }
  guard_->release();
  unlink(path_.c_str());
  close(file_);
}

std::string OutputLock::holder_of(const std::filesystem::path& output) {
  std::ifstream file(path_of(output));
  std::string holder;
  std::getline(file, holder);
  return holder.starts_with("process ") ? holder : "another process";
}

}  // namespace hack::io
