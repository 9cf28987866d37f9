#include "svd/pipeline/tile_deal.hpp"

#include <numeric>

#include <gtest/gtest.h>

namespace hack::svd {
namespace {

const std::vector<TileGrid> grids = {TileGrid(64, 64, 8, 8), TileGrid(30, 20, 8, 8)};  // 64 and 12 tiles

TEST(DealTiles, GivesEveryTileToOneRankInOrder) {
  for (const std::vector<double>& shares :
       {std::vector<double>{1}, {0.5, 0.5}, {0.2, 0.3, 0.5}, {1, 1, 1, 1, 1, 1, 1}, std::vector<double>(100, 0.01)}) {
    const std::vector<Range> dealt = deal_tiles(grids, shares);
    ASSERT_EQ(dealt.size(), shares.size());
    index_t next = 0;
    for (const Range& own : dealt) {
      EXPECT_EQ(own.begin, next);
      EXPECT_LE(own.begin, own.end);
      next = own.end;
    }
    EXPECT_EQ(next, 76);
  }
}

TEST(DealTiles, CutsByCost) {
  // 64 tiles of cost 512; six more of 512, two of 8 x 4 (128), three of 6 x 8 (288), one of 6 x 4 (96).
  const std::vector<double> shares = {0.25, 0.75};
  const std::vector<Range> dealt = deal_tiles(grids, shares);
  double costs[2] = {};
  for (int p = 0; p < 2; ++p) {
    for (index_t t = dealt[p].begin; t < dealt[p].end; ++t) costs[p] += cost_of(grids[t / 64].tile(t % 64));
  }
  EXPECT_NEAR(costs[0] / (costs[0] + costs[1]), 0.25, 512 / (costs[0] + costs[1]));
}

TEST(DealTiles, DealsWholeMatricesEvenly) {
  const std::vector<TileGrid> whole(3, TileGrid(50, 40, 50, 40));
  const std::vector<double> shares = {0.6, 0.2, 0.2};
  const std::vector<Range> dealt = deal_tiles(whole, shares);
  for (int p = 0; p < 3; ++p) EXPECT_EQ(dealt[p], (Range{p, p + 1}));
}

TEST(BalancedShares, MoveTowardsEqualTimes) {
  std::vector<double> shares = {0.5, 0.5};
  const double speeds[] = {1.0, 0.8};
  for (int batch = 0; batch < 12; ++batch) {
    const std::vector<double> costs = shares, seconds = {shares[0] / speeds[0], shares[1] / speeds[1]};
    shares = balanced_shares(shares, costs, seconds);
  }
  EXPECT_NEAR(shares[0], 1.0 / 1.8, 1e-3);
  EXPECT_NEAR(shares[0] + shares[1], 1, 1e-12);
}

TEST(BalancedShares, AreBoundedAndLeaveIdleRanksAlone) {
  const std::vector<double> even(4, 0.25);
  const std::vector<double> costs = {1, 1, 1, 0}, seconds = {1, 100, 100, 0};
  const std::vector<double> shares = balanced_shares(even, costs, seconds);
  EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1, 1e-12);
  EXPECT_NEAR(shares[0], 0.25 * largest_share, 1e-12);
  EXPECT_NEAR(shares[3], 0.25, 1e-12);
}

TEST(StepMemory, CountsATileAsWritten) {
  // One tile of 128 x 128 in f32, kept whole: 64 KiB of values; r (r - 1) / 2 + 4 r + 1 doubles; 64 KiB encoded.
  const std::vector<TileGrid> one = {TileGrid(128, 128, 128, 128)};
  const CompressOptions options{TileMode::tile, 128, {RankRule::Kind::keep, 0.5}, Codec::f32};
  const std::vector<Range> dealt = {{0, 1}};
  const StepMemory memory = memory_of(options, one, dealt, Device::cpu, 1);
  EXPECT_EQ(memory.values, 65536);
  EXPECT_GE(memory.working, 8 * (128 * 127 / 2 + 4 * 128 + 1) + 4 * 128 * 256);
  EXPECT_NEAR(static_cast<double>(memory.encoded), 65536 + 512, 16);
}

}  // namespace
}  // namespace hack::svd
