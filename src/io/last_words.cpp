#include "io/last_words.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace hack::io {
namespace {

// A signal handler may use neither locks nor the heap.
constexpr std::size_t longest = 8192;
char words[longest];
std::atomic<std::size_t> length{0};

}  // namespace

LastWords::LastWords(const std::string& sentence) {
  const std::string line = "hack: " + sentence + "\n";
  const std::size_t size = std::min(line.size(), longest);
  std::copy_n(line.data(), size, words);
  length = size;
}

LastWords::~LastWords() { length = 0; }

void LastWords::say() noexcept {
  const std::size_t size = length;
  // Where nobody can read it, there is nothing to be done about it.
  if (size > 0 && write(STDERR_FILENO, words, size) < 0) return;
}

}  // namespace hack::io
