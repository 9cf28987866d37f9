#include "model/llama/shard_plan.hpp"

#include <gtest/gtest.h>

namespace hack::model {
namespace {

LlamaConfig config(index_t heads, index_t kv_heads) {
  LlamaConfig c;
  c.hidden_size = 36;
  c.intermediate_size = 50;
  c.layers = 2;
  c.heads = heads;
  c.kv_heads = kv_heads;
  c.head_dim = 4;
  c.vocab_size = 101;
  return c;
}

std::vector<double> nothing(int parts) { return std::vector<double>(static_cast<std::size_t>(parts), 0.0); }

TEST(CutByWeight, CutsBetweenTiles) {
  const std::vector<index_t> offsets = {0, 10, 20, 30, 40};
  EXPECT_EQ(cut_by_weight(offsets, std::vector<double>{1e6, 1e6, 1e6, 1e6}, nothing(2)),
            (std::vector<index_t>{0, 20, 40}));
  // Half of the weight lies in the last tile.
  EXPECT_EQ(cut_by_weight(offsets, std::vector<double>{1e6, 1e6, 1e6, 3e6}, nothing(2)),
            (std::vector<index_t>{0, 30, 40}));
}

TEST(CutByWeight, CutsWithinTilesWhereTheyAreFewerThanParts) {
  EXPECT_EQ(cut_by_weight(std::vector<index_t>{0, 30}, std::vector<double>{5.0}, nothing(3)),
            (std::vector<index_t>{0, 10, 20, 30}));
  // Between blocks of 32.
  EXPECT_EQ(cut_by_weight(std::vector<index_t>{0, 100}, std::vector<double>{5e6}, nothing(3), 32),
            (std::vector<index_t>{0, 32, 64, 100}));
}

TEST(CutByWeight, GivesLessToThoseWhoBearMore) {
  const std::vector<index_t> offsets = {0, 100};
  const std::vector<double> weights = {1e6};
  EXPECT_EQ(cut_by_weight(offsets, weights, std::vector<double>{2e5, 0}), (std::vector<index_t>{0, 40, 100}));
  EXPECT_EQ(cut_by_weight(offsets, weights, std::vector<double>{0, 9e6, 0}), (std::vector<index_t>{0, 50, 50, 100}));
  EXPECT_EQ(cut_by_weight(offsets, weights, std::vector<double>{0, 9e6}), (std::vector<index_t>{0, 100, 100}));
}

TEST(CutByWeight, CoversEverythingInOrderWhateverTheWeights) {
  const std::vector<index_t> offsets = {0, 7, 14, 21, 23};
  for (int parts = 1; parts <= 9; ++parts) {
    const std::vector<index_t> cuts = cut_by_weight(offsets, std::vector<double>{0, 9e9, 0, 1}, nothing(parts));
    ASSERT_EQ(std::ssize(cuts), parts + 1);
    EXPECT_EQ(cuts.front(), 0);
    EXPECT_EQ(cuts.back(), 23);
    for (int p = 0; p < parts; ++p) EXPECT_LE(cuts[p], cuts[p + 1]);
  }
}

TEST(ShardPlan, GivesEveryHeadIdAndRowToOneRank) {
  for (int parts : {1, 2, 3, 4, 7, 12}) {
    index_t heads = 0, vocabulary = 0, inner = 0;
    for (int rank = 0; rank < parts; ++rank) {
      const ShardPlan plan = ShardPlan::make(config(9, 3), nullptr, parts, rank);
      EXPECT_EQ(plan.heads.begin, heads);
      heads = plan.heads.end;
      EXPECT_EQ(plan.vocabulary.begin, vocabulary);
      vocabulary = plan.vocabulary.end;
      EXPECT_EQ(plan.intermediate[1].begin, inner);
      inner = plan.intermediate[1].end;
    }
    EXPECT_EQ(heads, 9);
    EXPECT_EQ(vocabulary, 101);
    EXPECT_EQ(inner, 50);
  }
}

TEST(ShardPlan, MakesUpForUnevenHeads) {
  // Of 9 heads one of 2 ranks has 5.
  LlamaConfig c = config(9, 1);
  c.intermediate_size = 6000;
  const auto bytes = [&](int rank) {
    const ShardPlan plan = ShardPlan::make(c, nullptr, 2, rank);
    EXPECT_EQ(plan.intermediate[0].begin % 32, 0);
    return (2 * c.hidden_size + 512) * plan.heads.size() * c.head_dim + 3 * c.hidden_size * plan.intermediate[0].size();
  };
  EXPECT_GT(ShardPlan::make(c, nullptr, 2, 0).intermediate[0].size(), 3000);  // it has four heads
  EXPECT_NEAR(static_cast<double>(bytes(0)), static_cast<double>(bytes(1)), 3.0 * 32 * 36);
}

TEST(ShardPlan, HoldsTheKeyValueHeadsItsQueriesRead) {
  // 9 query heads in groups of 3 over 2 ranks: heads 0-3 read 0, 0, 0, 1; heads 4-8 read 1, 1, 2, 2, 2.
  const ShardPlan first = ShardPlan::make(config(9, 3), nullptr, 2, 0);
  EXPECT_EQ(first.kv_heads, (svd::Range{0, 2}));
  EXPECT_EQ(first.kv_of_head, (std::vector<int>{0, 0, 0, 1}));
  const ShardPlan second = ShardPlan::make(config(9, 3), nullptr, 2, 1);
  EXPECT_EQ(second.kv_heads, (svd::Range{1, 3}));
  EXPECT_EQ(second.kv_of_head, (std::vector<int>{0, 0, 1, 1, 1}));
}

TEST(ShardPlan, ReplicatesKeyValueHeadsWhereRanksOutnumberThem) {
  for (int rank = 0; rank < 4; ++rank) {
    const ShardPlan plan = ShardPlan::make(config(8, 1), nullptr, 4, rank);
    EXPECT_EQ(plan.kv_heads, (svd::Range{0, 1}));
  }
  EXPECT_EQ(ShardPlan::make(config(2, 1), nullptr, 5, 0).heads.size(), 0);
}

}  // namespace
}  // namespace hack::model
