#include "model/tokenizer/text_stream.hpp"

#include <algorithm>
#include <utility>

namespace hack::model {
namespace {

/// Bytes at the end that begin a character whose other bytes are missing (RFC 3629).
std::size_t unfinished_character(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

}  // namespace

/// Bytes at the end that a stop text begins with: the most of any.
std::size_t TextStream::beginning_of_stop() const {
  std::size_t most = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > most; --n) {
      if (held_.ends_with(std::string_view(stop).substr(0, n))) most = n;
    }
  }
  return most;
}

std::string TextStream::add(std::string_view bytes) {
  if (is_stopped_) return {};
  held_ += bytes;
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    is_stopped_ = true;
    held_.resize(first);
    return std::exchange(held_, {});
  }
  const std::size_t kept = std::max(beginning_of_stop(), unfinished_character(held_));
  std::string shown = held_.substr(0, held_.size() - kept);
  held_.erase(0, shown.size());
  return shown;
}

std::string TextStream::finish() { return std::exchange(held_, {}); }

}  // namespace hack::model
