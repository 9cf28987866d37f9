#include "io/digest.hpp"

#include HACK_XXHASH_HEADER

#include "kernels/error.hpp"

namespace hack::io {

Digest::Digest() : state_(make_xxh3_state()) { HACK_EXPECT(XXH3_64bits_reset(state_.get()) == XXH_OK); }

void Digest::add(std::span<const std::byte> bytes) {
  HACK_EXPECT(XXH3_64bits_update(state_.get(), bytes.data(), bytes.size()) == XXH_OK);
}

std::uint64_t Digest::value() const { return XXH3_64bits_digest(state_.get()); }

std::uint64_t digest64(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace hack::io
