#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/xxh3_state.hpp"

namespace hack::io {

/// XXH3 with 64 bits (https://xxhash.com) over bytes that come in pieces, such as ranges of a MappedFile. Only the
/// bytes and their order count, not how they were cut. It notices damage, not intent.
class Digest {
 public:
  Digest();

  void add(std::span<const std::byte> bytes);
  /// The digest of what was added so far.
  std::uint64_t value() const;

 private:
  Xxh3State state_;
};

/// The Digest of bytes that lie together.
std::uint64_t digest64(std::span<const std::byte> bytes);

}  // namespace hack::io
