#include "io/hash.hpp"

#include HACK_XXHASH_HEADER

#include <fmt/core.h>

#include "kernels/error.hpp"

namespace hack::io {

Hash::Hash() : state_(make_xxh3_state()) { HACK_EXPECT(XXH3_128bits_reset(state_.get()) == XXH_OK); }

Hash::Hash(const Hash& other) : Hash() { XXH3_copyState(state_.get(), other.state_.get()); }

Hash& Hash::operator=(const Hash& other) {
  if (this != &other) *this = Hash(other);
  return *this;
}

void Hash::add(std::span<const std::byte> bytes) {
  HACK_EXPECT(XXH3_128bits_update(state_.get(), bytes.data(), bytes.size()) == XXH_OK);
}

void Hash::add(const std::string& text) {
  add(static_cast<index_t>(text.size()));
  add(std::as_bytes(std::span(text)));
}

void Hash::add(index_t number) { add(std::as_bytes(std::span(&number, 1))); }

void Hash::add(float number) { add(std::as_bytes(std::span(&number, 1))); }

std::string Hash::digits() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace hack::io
