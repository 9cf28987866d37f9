// Digests and hashes against the values that xxHash's own program gives: `printf abc | xxhsum -H3 -` for Digest, -H2
// for Hash.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/digest.hpp"
#include "io/hash.hpp"

namespace hack::io {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// More than the library's internal buffer, and no round number of its blocks.
std::string pattern() {
  std::string text(100000, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7 + i / 256);
  return text;
}

TEST(Digest, IsXxh3With64Bits) {
  EXPECT_EQ(digest64({}), 0x2d06800538d394c2u);
  EXPECT_EQ(digest64(bytes_of("abc")), 0x78af5f94892f3950u);
  EXPECT_EQ(digest64(bytes_of(pattern())), 0xb25cea78018497ffu);
}

TEST(Digest, DependsOnBytesNotOnCuts) {
  const std::string text = pattern();
  for (const std::size_t step : {1u, 63u, 256u, 4097u, 100000u}) {
    Digest digest;
    for (std::size_t i = 0; i < text.size(); i += step) {
      digest.add(bytes_of(text).subspan(i, std::min(step, text.size() - i)));
      digest.add({});
    }
    EXPECT_EQ(digest.value(), digest64(bytes_of(text))) << step;
  }
}

TEST(Digest, NoticesEveryFlippedBit) {
  std::string text = pattern().substr(0, 300);
  const std::uint64_t whole = digest64(bytes_of(text));
  for (std::size_t i = 0; i < text.size() * 8; ++i) {
    text[i / 8] ^= static_cast<char>(1 << i % 8);
    EXPECT_NE(digest64(bytes_of(text)), whole) << "bit " << i;
    text[i / 8] ^= static_cast<char>(1 << i % 8);
  }
}

TEST(Hash, IsXxh3With128Bits) {
  EXPECT_EQ(Hash().digits(), "99aa06d3014798d86001c324468d497f");
  Hash hash;
  hash.add(bytes_of("abc"));
  EXPECT_EQ(hash.digits(), "06b05ab6733a618578af5f94892f3950");
}

// Texts carry their lengths (8 bytes, little endian), so that "ab", "c" and "a", "bc" differ.
TEST(Hash, TakesTextsAndNumbers) {
  Hash hash;
  hash.add(std::string("layers"));
  hash.add(index_t{3});
  hash.add(0.5f);
  EXPECT_EQ(hash.digits(), "d020e48cf1babdf125e4456eef42e0ea");
}

TEST(Hash, CopiesGoTheirOwnWay) {
  Hash first;
  first.add(index_t{1});
  Hash second = first;
  EXPECT_EQ(second.digits(), first.digits());
  second.add(index_t{2});
  EXPECT_NE(second.digits(), first.digits());
  first = second;
  EXPECT_EQ(second.digits(), first.digits());
}

}  // namespace
}  // namespace hack::io
