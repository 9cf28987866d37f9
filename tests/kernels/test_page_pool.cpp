#include "kernels/cpu/memory/page_pool.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

namespace hack::kernels {
namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

TEST(PagePool, GivesPiecesThatDoNotMeet) {
  PagePool pool;
  std::vector<std::pair<unsigned char*, std::size_t>> pieces;
  for (std::size_t n = 1; n < 60; ++n) {
    const std::size_t bytes = n * n * 1001;
    auto* piece = static_cast<unsigned char*>(pool.take(bytes));
    ASSERT_NE(piece, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece) % 64, 0u);
    std::memset(piece, static_cast<int>(n), bytes);
    pieces.emplace_back(piece, bytes);
    if (n % 3 != 0) continue;
    EXPECT_TRUE(pool.give_back(pieces[pieces.size() / 2].first));  // from the middle
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(pieces.size() / 2));
  }
  for (const auto& [piece, bytes] : pieces) {
    for (std::size_t i = 0; i < bytes; ++i) ASSERT_EQ(piece[i], piece[0]);
    EXPECT_TRUE(pool.give_back(piece));
  }
}

TEST(PagePool, JoinsWhatComesBack) {
  PagePool pool;
  void* first = pool.take(60 * mebibyte);
  void* second = pool.take(60 * mebibyte);
  void* third = pool.take(60 * mebibyte);
  EXPECT_TRUE(pool.give_back(first));
  EXPECT_TRUE(pool.give_back(third));
  EXPECT_TRUE(pool.give_back(second));
  EXPECT_EQ(pool.take(180 * mebibyte), first);
}

TEST(PagePool, TakesMoreThanAChunkAndGivesItsPagesBack) {
  PagePool pool;
  auto* large = static_cast<unsigned char*>(pool.take(300 * mebibyte));
  ASSERT_NE(large, nullptr);
  large[0] = large[300 * mebibyte - 1] = 1;
  EXPECT_TRUE(pool.give_back(large));
  EXPECT_EQ(pool.take(300 * mebibyte), large);
  EXPECT_EQ(large[0] + large[300 * mebibyte - 1], 0);  // fresh pages
}

TEST(PagePool, KnowsItsOwnPieces) {
  PagePool pool;
  int foreign = 0;
  EXPECT_FALSE(pool.give_back(&foreign));
  void* piece = pool.take(1000);
  EXPECT_TRUE(pool.give_back(piece));
  EXPECT_FALSE(pool.give_back(piece));
}

}  // namespace
}  // namespace hack::kernels
