#include "svd/rank_policy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "svd/storage.hpp"

namespace hack::svd {
namespace {

using kernels::TileKind;
using Kind = RankRule::Kind;

/// Tiles that own their spectra.
struct Tiles {
  std::vector<std::vector<float>> sigmas;
  std::vector<TileSpectrum> spectra;
  index_t dense = 0;

  void add(index_t h, index_t w, std::vector<float> sigma) {
    sigmas.push_back(std::move(sigma));
    spectra.push_back({h, w, sigmas.back()});
    dense += dense_bytes(h, w, DType::bf16);
  }
  /// Spectra that fall by a random factor.
  static Tiles random(unsigned seed, int count, index_t h, index_t w) {
    Tiles tiles;
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> decay(0.3f, 1.0f);
    for (int t = 0; t < count; ++t) {
      std::vector<float> sigma(static_cast<std::size_t>(std::min(h, w)));
      float s = 10 * decay(engine);
      for (float& value : sigma) value = s *= decay(engine);
      tiles.add(h, w, sigma);
    }
    return tiles;
  }
};

index_t bytes_of(const Tiles& tiles, const std::vector<TileChoice>& choices) {
  index_t bytes = 0;
  for (std::size_t t = 0; t < choices.size(); ++t) {
    bytes +=
        stored_bytes(choices[t].kind, tiles.spectra[t].height, tiles.spectra[t].width, choices[t].rank, DType::bf16);
  }
  return bytes;
}

double discarded_by(const std::vector<TileChoice>& choices) {
  double sum = 0;
  for (const TileChoice& choice : choices) sum += choice.discarded;
  return sum;
}

std::vector<TileChoice> keep(const Tiles& tiles, double value) {
  return choose_ranks({Kind::keep, value}, tiles.spectra, DType::bf16);
}

/// Least energy that tiles first … can discard with `room` bytes, by trying everything.
double least_discarded(const Tiles& tiles, index_t room, std::size_t first = 0) {
  if (first == tiles.spectra.size()) return 0;
  const TileSpectrum& tile = tiles.spectra[first];
  double best = std::numeric_limits<double>::infinity();
  const index_t r = std::ssize(tile.sigma);
  double tail = 0;
  for (index_t k = r; k >= 0; --k) {
    if (k < r) tail += std::pow(double{tile.sigma[k]}, 2);
    const index_t bytes = stored_bytes(TileKind::factors, tile.height, tile.width, k, DType::bf16);
    if (bytes <= room) best = std::min(best, tail + least_discarded(tiles, room - bytes, first + 1));
  }
  const index_t dense = stored_bytes(TileKind::dense, tile.height, tile.width, r, DType::bf16);
  if (dense <= room) best = std::min(best, least_discarded(tiles, room - dense, first + 1));
  return best;
}

TEST(Storage, CountsFactorsDenseNumbersAndTheTable) {
  EXPECT_EQ(stored_bytes(TileKind::factors, 128, 96, 10, DType::bf16), (128 + 96) * 10 * 2 + 4 * 10 + 5);
  EXPECT_EQ(stored_bytes(TileKind::factors, 128, 96, 0, DType::f32), 5);
  EXPECT_EQ(stored_bytes(TileKind::dense, 128, 96, 10, DType::f32), 128 * 96 * 4 + 5);
}

TEST(TopK, RoundsDownButNotForRoundingErrors) {
  const auto rank = [](double t, std::size_t r) {
    const std::vector<float> sigma(r, 1.0f);
    const TileSpectrum tile[] = {{std::ssize(sigma), std::ssize(sigma), sigma}};
    return choose_ranks({Kind::topk, t}, tile, DType::bf16).front().rank;
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
  const TileChoice below = choose_ranks({Kind::topk, 63.0 / 128}, tile, DType::bf16).front();
  EXPECT_EQ(below.kind, TileKind::factors);
  EXPECT_EQ(below.rank, 63);
  EXPECT_DOUBLE_EQ(below.energy, 128);
  EXPECT_DOUBLE_EQ(below.discarded, 65);
  const TileChoice above = choose_ranks({Kind::topk, 0.5}, tile, DType::bf16).front();
  EXPECT_EQ(above.kind, TileKind::dense);
  EXPECT_EQ(above.rank, 64);  // the rank asked for stands
  EXPECT_DOUBLE_EQ(above.discarded, 64);
}

TEST(Tolerance, IsTheSmallestRankThatSuffices) {
  const std::vector<float> sigma = {4, 2, 2, 1};  // energy 25; discarded at rank 0 … 4: 25 9 5 1 0
  const TileSpectrum tile[] = {{40, 4, sigma}};
  const auto rank = [&](double tolerance) {
    return choose_ranks({Kind::tolerance, tolerance}, tile, DType::bf16).front().rank;
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
  EXPECT_EQ(choose_ranks({Kind::tolerance, 0}, zero, DType::bf16).front().rank, 0);
}

TEST(Keep, StaysWithinTheBudgetAndNearTheOptimum) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const Tiles tiles = Tiles::random(seed, 3, 9 + seed % 3, 7);
    for (double rho : {0.1, 0.3, 0.5, 0.7, 0.9, 0.97}) {
      const auto budget = static_cast<index_t>(rho * static_cast<double>(tiles.dense));
      const std::vector<TileChoice> choices = keep(tiles, rho);
      EXPECT_LE(bytes_of(tiles, choices), budget);
      // Along the hulls the allocation is optimal for the bytes it takes; what is left of the budget is less than one
      // step, and a step saves at most its gain: no more than the largest energy of a tile.
      const double best = least_discarded(tiles, budget);
      double largest_step = 0;
      for (const TileChoice& choice : choices) largest_step = std::max(largest_step, choice.energy);
      EXPECT_GE(discarded_by(choices), best - 1e-9);
      EXPECT_LE(discarded_by(choices), best + largest_step);
    }
  }
}

TEST(Keep, IsOptimalWhereTheBudgetEndsAtAStep) {
  // Slowly falling spectra, no dense form within reach: every hull step is one rank of 2 * 2 * 12 + 4 bytes.
  for (unsigned seed = 0; seed < 10; ++seed) {
    const Tiles tiles = Tiles::random(seed, 3, 12, 12);
    const index_t step = 2 * 24 + 4;
    for (index_t ranks = 0; ranks <= 6; ++ranks) {
      const index_t budget = 3 * table_entry_bytes + ranks * step;
      const std::vector<TileChoice> choices =
          keep(tiles, (static_cast<double>(budget) + 0.5) / static_cast<double>(tiles.dense));
      const bool all_factors =
          std::all_of(choices.begin(), choices.end(), [](const TileChoice& c) { return c.kind == TileKind::factors; });
      if (!all_factors) continue;
      EXPECT_NEAR(discarded_by(choices), least_discarded(tiles, budget), 1e-9) << "seed " << seed << " ranks " << ranks;
    }
  }
}

TEST(Keep, GivesRanksToTheTileWithTheEnergy) {
  Tiles tiles;
  tiles.add(12, 12, std::vector<float>(12, 0.01f));
  tiles.add(12, 12, {9, 8, 7, 0.001f, 0, 0, 0, 0, 0, 0, 0, 0});
  const std::vector<TileChoice> choices = keep(tiles, (3.0 * 52 + 10 + 1) / 576);  // three ranks and the table
  EXPECT_EQ(choices[0].rank, 0);
  EXPECT_EQ(choices[1].rank, 3);
  EXPECT_EQ(choices[1].kind, TileKind::factors);
}

TEST(Keep, NeverDiscardsMoreWithALargerBudget) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    const Tiles tiles = Tiles::random(seed, 5, 16, 11);
    double before = std::numeric_limits<double>::infinity();
    for (int step = 0; step <= 500; ++step) {
      const double discarded = discarded_by(keep(tiles, step / 500.0));
      EXPECT_LE(discarded, before * (1 + 1e-12));
      before = discarded;
    }
    EXPECT_EQ(before, 0);
  }
}

TEST(Keep, MeetsTheBudgetFromBelow) {
  const Tiles tiles = Tiles::random(3, 24, 128, 128);
  for (double rho = 0.05; rho < 0.99; rho += 0.07) {
    const double spent = static_cast<double>(bytes_of(tiles, keep(tiles, rho))) / static_cast<double>(tiles.dense);
    EXPECT_LE(spent, rho);
    EXPECT_GE(spent, rho - 0.005);
  }
}

TEST(Keep, SavesWhatCannotHelp) {
  Tiles tiles;
  tiles.add(16, 16, std::vector<float>(16, 0.0f));
  tiles.add(16, 16, {5, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  const std::vector<TileChoice> choices = keep(tiles, 0.9);
  EXPECT_EQ(choices[0].rank, 0);
  EXPECT_EQ(choices[0].kind, TileKind::factors);
  EXPECT_EQ(choices[1].rank, 2);
}

TEST(Keep, OneIsAllDenseAndZeroIsNothing) {
  const Tiles tiles = Tiles::random(4, 6, 64, 48);
  for (const TileChoice& choice : keep(tiles, 1)) {
    EXPECT_EQ(choice.kind, TileKind::dense);
    EXPECT_EQ(choice.rank, 48);
    EXPECT_EQ(choice.discarded, 0);
  }
  EXPECT_EQ(bytes_of(tiles, keep(tiles, 1)), tiles.dense + 6 * table_entry_bytes);
  for (const TileChoice& choice : keep(tiles, 0)) {
    EXPECT_EQ(choice.kind, TileKind::factors);
    EXPECT_EQ(choice.rank, 0);
    EXPECT_EQ(choice.discarded, choice.energy);
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
