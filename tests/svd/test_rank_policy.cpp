#include "svd/choose/rank_policy.hpp"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "svd/choose/allocation.hpp"
#include "svd/tile/storage.hpp"

namespace hack::svd {
namespace {

using kernels::Structure;
using Kind = RankRule::Kind;

constexpr TileFormat factors{Structure::low_rank, Codec::bf16};
constexpr TileFormat interpolative{Structure::interpolative, Codec::bf16};

TEST(Storage, CountsFactorsDenseNumbersAndTheTable) {
  EXPECT_EQ(stored_bytes(Structure::low_rank, 128, 96, 10, Codec::bf16), (128 + 96) * 10 * 2 + 4 * 10 + 5);
  EXPECT_EQ(stored_bytes(Structure::low_rank, 128, 96, 0, Codec::f32), 5);
  EXPECT_EQ(stored_bytes(Structure::dense, 128, 96, 10, Codec::f32), 128 * 96 * 4 + 5);
}

TEST(TopK, RoundsDownButNotForRoundingErrors) {
  const auto rank = [](double t, std::size_t r) {
    const std::vector<float> sigma(r, 1.0f);
    const TileSpectrum tile[] = {{std::ssize(sigma), std::ssize(sigma), sigma}};
    return choose_ranks({Kind::topk, t}, tile, factors).front().rank;
  };
  EXPECT_EQ(rank(0.9, 128), 115);
  EXPECT_EQ(rank(0.5, 128), 64);
  EXPECT_EQ(rank(0.29, 100), 29);  // 0.29 * 100 is 28.999999999999996 in double
  EXPECT_EQ(rank(0.57, 100), 57);
  EXPECT_EQ(rank(0.999, 3), 2);
  EXPECT_EQ(rank(0, 128), 0);
  EXPECT_EQ(rank(1, 128), 128);
}

TEST(TopK, StoresTheTileInTheSmallerForm) {
  // At 128 x 128 in bf16 rank 63 takes 63 * 516 = 32508 bytes, rank 64 33024; dense 32768.
  const std::vector<float> sigma(128, 1.0f);
  const TileSpectrum tile[] = {{128, 128, sigma}};
  const TileChoice below = choose_ranks({Kind::topk, 63.0 / 128}, tile, factors).front();
  EXPECT_EQ(below.kind, Structure::low_rank);
  EXPECT_EQ(below.rank, 63);
  EXPECT_DOUBLE_EQ(below.energy, 128);
  EXPECT_DOUBLE_EQ(below.discarded, 65);
  const TileChoice above = choose_ranks({Kind::topk, 0.5}, tile, factors).front();
  EXPECT_EQ(above.kind, Structure::dense);
  EXPECT_EQ(above.rank, 64);  // the rank asked for stands
  EXPECT_DOUBLE_EQ(above.discarded, 64);
}

TEST(TopK, StoresInterpolativeTilesDenseOnlyWhereTheirMarksCostMore) {
  // At 128 x 128 in bf16, rank 125 takes 125 * 131 * 2 + 16 = 32766 bytes, rank 126 32776; dense 32768.
  const std::vector<float> sigma(128, 1.0f);
  const TileSpectrum tile[] = {{128, 128, sigma}};
  const auto choose = [&](int k) { return choose_ranks({Kind::topk, k / 128.0}, tile, interpolative).front(); };
  EXPECT_EQ(choose(0).kind, Structure::interpolative);
  EXPECT_EQ(choose(64).kind, Structure::interpolative);
  EXPECT_EQ(choose(125).kind, Structure::interpolative);
  EXPECT_EQ(choose(126).kind, Structure::dense);
  EXPECT_EQ(choose(126).rank, 126);  // the product: the rank asked for stands
  EXPECT_DOUBLE_EQ(choose(126).discarded, 2);
  EXPECT_EQ(choose(128).kind, Structure::dense);
  EXPECT_DOUBLE_EQ(choose(128).discarded, 0);
}

TEST(Tolerance, IsTheSmallestRankThatSuffices) {
  const std::vector<float> sigma = {4, 2, 2, 1};  // energy 25; discarded at rank 0 … 4: 25 9 5 1 0
  const TileSpectrum tile[] = {{40, 4, sigma}};
  const auto rank = [&](double tolerance) {
    return choose_ranks({Kind::tolerance, tolerance}, tile, factors).front().rank;
  };
  EXPECT_EQ(rank(0), 4);
  EXPECT_EQ(rank(0.19), 4);
  EXPECT_EQ(rank(0.2001), 3);
  EXPECT_EQ(rank(0.44), 3);
  EXPECT_EQ(rank(0.45), 2);  // 0.45² * 25 = 5.06
  EXPECT_EQ(rank(0.61), 1);
  EXPECT_EQ(rank(1), 0);
  const std::vector<float> zeros(4, 0.0f);
  const TileSpectrum zero[] = {{4, 4, zeros}};
  EXPECT_EQ(choose_ranks({Kind::tolerance, 0}, zero, factors).front().rank, 0);
}

TEST(Tolerance, StoresTheTileInTheSmallerForm) {
  const std::vector<float> sigma = {4, 2, 2, 1};
  const TileSpectrum tile[] = {{40, 4, sigma}};
  const TileChoice low = choose_ranks({Kind::tolerance, 0.61}, tile, interpolative).front();
  EXPECT_EQ(low.kind, Structure::interpolative);
  EXPECT_EQ(low.rank, 1);
  EXPECT_DOUBLE_EQ(low.discarded, 9);
  const TileChoice full = choose_ranks({Kind::tolerance, 0}, tile, interpolative).front();
  EXPECT_EQ(full.kind, Structure::dense);
  EXPECT_DOUBLE_EQ(full.discarded, 0);
}

TEST(TopK, StoresATileDenseWhereThatIsFaster) {
  const std::vector<float> sigma = {4, 3, 2, 1};
  const TileSpectrum tile[] = {{4, 40, sigma}};
  TileFormat format = interpolative;
  EXPECT_EQ(choose_ranks({Kind::topk, 0.5}, tile, format).front().kind, Structure::interpolative);
  format.fast_share = 0.4;
  const TileChoice choice = choose_ranks({Kind::topk, 0.5}, tile, format).front();
  EXPECT_EQ(choice.kind, Structure::dense);
  EXPECT_EQ(choice.rank, 2);
  EXPECT_EQ(choose_ranks({Kind::topk, 0.25}, tile, format).front().kind, Structure::interpolative);
}

TEST(Keep, IsTheBudgetOfOneMatrix) {
  std::vector<std::vector<float>> sigmas;
  std::vector<TileSpectrum> tiles;
  for (int t = 0; t < 4; ++t) {
    std::vector<float>& sigma = sigmas.emplace_back(32);
    for (std::size_t k = 0; k < sigma.size(); ++k) sigma[k] = std::pow(0.5f + 0.1f * t, static_cast<float>(k));
  }
  for (const std::vector<float>& sigma : sigmas) tiles.push_back({32, 40, sigma});
  const MatrixSpectra matrix{"w", tiles, 7};
  for (const TileFormat& format : {factors, interpolative}) {
    const AllocationOptions options{.mode = AllocationMode::uniform, .format = format};
    const std::vector<TileChoice> expected = allocate(0.6, std::span(&matrix, 1), options).choices.front();
    const std::vector<TileChoice> choices = choose_ranks({Kind::keep, 0.6}, tiles, format);
    ASSERT_EQ(choices.size(), expected.size());
    for (std::size_t t = 0; t < choices.size(); ++t) {
      EXPECT_EQ(choices[t].kind, expected[t].kind);
      EXPECT_EQ(choices[t].rank, expected[t].rank);
      EXPECT_EQ(choices[t].discarded, expected[t].discarded);
    }
    EXPECT_TRUE(choose_ranks({Kind::keep, 0.6}, {}, format).empty());
  }
}

TEST(RankRule, IsChecked) {
  EXPECT_EQ(parse_rank_rule("tolerance"), Kind::tolerance);
  EXPECT_THROW(parse_rank_rule("best"), Error);
  EXPECT_THROW(check_rank_rule({Kind::topk, 1.01}), Error);
  EXPECT_THROW(check_rank_rule({Kind::keep, -0.1}), Error);
  EXPECT_THROW(check_rank_rule({Kind::tolerance, std::nan("")}), Error);
  EXPECT_NO_THROW(check_rank_rule({Kind::tolerance, 1.5}));
}

}  // namespace
}  // namespace hack::svd
