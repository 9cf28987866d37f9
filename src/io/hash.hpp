#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "io/xxh3_state.hpp"
#include "kernels/dtype.hpp"

namespace hack::io {

/// Tells contents apart, not safe against intent: XXH3 with 128 bits (https://xxhash.com) over everything that is
/// added. A text is preceded by its length; a number is taken as this machine holds it.
class Hash {
 public:
  Hash();
  Hash(const Hash& other);
  Hash& operator=(const Hash& other);
  Hash(Hash&&) noexcept = default;
  Hash& operator=(Hash&&) noexcept = default;

  void add(std::span<const std::byte> bytes);
  void add(const std::string& text);
  void add(index_t number);
  void add(float number);
  /// 32 hex digits of what was added so far.
  std::string digits() const;

 private:
  Xxh3State state_;
};

}  // namespace hack::io
