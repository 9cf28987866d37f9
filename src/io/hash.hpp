#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <fmt/format.h>

#include "kernels/dtype.hpp"

namespace hack::io {

/// Tells contents apart, not safe against intent: FNV-1a with 64 bits, from two starting points.
class Hash {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) {
      for (std::uint64_t& state : states_) state = (state ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3u;
    }
  }
  void add(const std::string& text) {
    add(static_cast<index_t>(text.size()));
    add(std::as_bytes(std::span(text)));
  }
  void add(index_t number) { add(std::as_bytes(std::span(&number, 1))); }
  void add(float number) { add(std::as_bytes(std::span(&number, 1))); }
  /// 32 hex digits.
  std::string digits() const { return fmt::format("{:016x}{:016x}", states_[0], states_[1]); }

 private:
  std::array<std::uint64_t, 2> states_ = {0xcbf29ce484222325u, 0x9e3779b97f4a7c15u};
};

}  // namespace hack::io
