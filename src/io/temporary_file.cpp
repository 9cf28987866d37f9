#include "io/temporary_file.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <system_error>

#include "kernels/error.hpp"

namespace hack::io {
namespace {

constexpr int slots = 8;
constexpr std::size_t max_path = 4096;

// A signal handler may use neither locks nor the heap: fixed storage, and an atomic flag a slot.
char guarded[slots][max_path];
std::atomic<bool> in_use[slots];

extern "C" void remove_and_exit(int signal) {
  TemporaryFile::remove_all();
  std::_Exit(128 + signal);
}

/// Where a link leads: the link is to stay one.
std::filesystem::path target_of(std::filesystem::path path) {
  constexpr int most = 40;  // as Linux does, lest links go round
  std::error_code error;
  for (int i = 0; i < most && !is_stream(path) && std::filesystem::is_symlink(path, error); ++i) {
    path = path.parent_path() / std::filesystem::read_symlink(path);
  }
  return path;
}

void install_handlers_once() {
  static const bool installed = [] {
    for (int signal : {SIGTERM, SIGINT, SIGHUP}) {
      // What was ignored when the program began (nohup, a shell's background) is to stay ignored.
      if (std::signal(signal, remove_and_exit) == SIG_IGN) std::signal(signal, SIG_IGN);
    }
    return true;
  }();
  (void)installed;
}

}  // namespace

bool is_stream(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status)) return true;
  // What a name there stands for, a file that a shell has opened among it, is not to be replaced.
  const std::string name = path.lexically_normal().string();
  return name.starts_with("/proc/") || (name.starts_with("/dev/") && !name.starts_with("/dev/shm/"));
}

TemporaryFile::TemporaryFile(std::filesystem::path final_path)
    : final_path_(target_of(std::move(final_path))), path_(final_path_.string() + std::string(temporary_ending)) {
  const std::filesystem::path folder = final_path_.has_parent_path() ? final_path_.parent_path() : ".";
  validate(std::filesystem::is_directory(folder), "cannot write {} (there is no folder {}); make it first",
           final_path_.string(), folder.string());
  validate(access(folder.c_str(), W_OK) == 0, "cannot write {} (the folder {} is not writable)", final_path_.string(),
           folder.string());
  validate(!std::filesystem::is_directory(final_path_), "cannot write {} (it is a folder); name a file",
           final_path_.string());
  validate(!is_stream(final_path_), "cannot write {} (it is a pipe or a device); name a file", final_path_.string());
  validate(path_.string().size() < max_path, "the path {} is too long", path_.string());
  install_handlers_once();
  for (int slot = 0; slot < slots && slot_ < 0; ++slot) {
    if (!in_use[slot]) slot_ = slot;
  }
  HACK_EXPECT(slot_ >= 0);
  std::strncpy(guarded[slot_], path_.c_str(), max_path - 1);
  in_use[slot_] = true;
}

TemporaryFile::~TemporaryFile() {
  if (slot_ < 0) return;
  release();
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
  if (slot_ >= 0) in_use[slot_] = false;
  slot_ = -1;
}

void TemporaryFile::remove_all() noexcept {
  for (int slot = 0; slot < slots; ++slot) {
    if (in_use[slot]) unlink(guarded[slot]);
  }
}

}  // namespace hack::io
