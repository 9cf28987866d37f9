#include "io/guarded_path.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "io/last_words.hpp"
#include "kernels/error.hpp"

namespace hack::io {
namespace {

constexpr int slots = 16;
constexpr std::size_t max_path = 4096;

// A signal handler may use neither locks nor the heap: fixed storage, and an atomic flag a slot.
char guarded[slots][max_path];
std::atomic<bool> in_use[slots];

extern "C" void remove_and_exit(int signal) {
  GuardedPath::remove_all();
  LastWords::say();
  std::_Exit(128 + signal);
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

GuardedPath::GuardedPath(const std::filesystem::path& path) {
  validate(path.string().size() < max_path, "the path {} is too long", path.string());
  install_handlers_once();
  for (int slot = 0; slot < slots && slot_ < 0; ++slot) {
    if (!in_use[slot]) slot_ = slot;
  }
  HACK_EXPECT(slot_ >= 0);
  std::strncpy(guarded[slot_], path.c_str(), max_path - 1);
  in_use[slot_] = true;
}

void GuardedPath::release() {
  if (slot_ >= 0) in_use[slot_] = false;
  slot_ = -1;
}

void GuardedPath::remove_all() noexcept {
  for (int slot = 0; slot < slots; ++slot) {
    if (in_use[slot]) unlink(guarded[slot]);
  }
}

}  // namespace hack::io
