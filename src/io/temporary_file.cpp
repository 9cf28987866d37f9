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

void install_handlers_once() {
  static const bool installed = [] {
    for (int signal : {SIGTERM, SIGINT, SIGHUP}) std::signal(signal, remove_and_exit);
    return true;
  }();
  (void)installed;
}

}  // namespace

TemporaryFile::TemporaryFile(std::filesystem::path final_path)
    : final_path_(std::move(final_path)), path_(final_path_.string() + ".tmp") {
  const std::filesystem::path folder = final_path_.has_parent_path() ? final_path_.parent_path() : ".";
  validate(std::filesystem::is_directory(folder), "cannot write {} (there is no folder {}); make it first",
           final_path_.string(), folder.string());
  validate(access(folder.c_str(), W_OK) == 0, "cannot write {} (the folder {} is not writable)", final_path_.string(),
           folder.string());
  validate(!std::filesystem::is_directory(final_path_), "cannot write {} (it is a folder); name a file",
           final_path_.string());
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
