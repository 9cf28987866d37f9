#include "io/mapping_guard.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <fmt/core.h>

#include "io/guarded_path.hpp"
#include "io/messages.hpp"

namespace hack::io {
namespace {

/// A mapped file; free where it has no beginning. What is not entered for want of slots keeps the system's own message.
struct Mapping {
  std::atomic<const std::byte*> begin{nullptr};
  std::atomic<std::size_t> size{0};
  char* path = nullptr;
};

constexpr int slots = 1024;
Mapping mappings[slots];
std::atomic<MappingGuard::OnLoss> handler{nullptr};

void end_alone(std::string_view message) {
  print_message(fmt::format("hack: {}\n", message));
  GuardedPath::remove_all();
  std::_Exit(1);
}

extern "C" void name_the_file(int signal, siginfo_t* info, void* /*context*/) {
  static std::atomic<bool> is_said{false};
  const auto* const address = static_cast<const std::byte*>(info->si_addr);
  for (const Mapping& mapping : mappings) {
    const std::byte* const begin = mapping.begin;
    if (begin == nullptr || address < begin || address >= begin + mapping.size) continue;
    while (is_said.exchange(true)) pause();  // another thread met the same and is ending the run
    const MappingGuard::OnLoss end = handler;
    (end != nullptr ? end : end_alone)(
        fmt::format("{} cannot be read at byte {} (it was cut short since it was opened, or its disk fails); restore "
                    "it and start again",
                    mapping.path, address - begin));
  }
  std::signal(signal, SIG_DFL);  // none of ours: the read happens again and ends the process
}

void install_once() {
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_sigaction = name_the_file;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    return sigaction(SIGBUS, &action, nullptr) == 0;
  }();
  (void)installed;
}

}  // namespace

MappingGuard::MappingGuard(const std::byte* begin, std::size_t size, const std::string& path) {
  install_once();
  for (int slot = 0; slot < slots && slot_ == none; ++slot) {
    const std::byte* nobody = nullptr;
    if (!mappings[slot].begin.compare_exchange_strong(nobody, begin)) continue;
    mappings[slot].path = strdup(path.c_str());
    mappings[slot].size = size;
    slot_ = slot;
  }
}

MappingGuard::~MappingGuard() {
  if (slot_ == none) return;
  mappings[slot_].size = 0;
  std::free(mappings[slot_].path);
  mappings[slot_].begin = nullptr;
}

void MappingGuard::on_loss(OnLoss on_loss) { handler = on_loss; }

}  // namespace hack::io
