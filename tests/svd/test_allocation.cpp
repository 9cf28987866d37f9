#include "svd/choose/allocation.hpp"

#include <algorithm>
#include <cmath>
#include <array>
#include <deque>
#include <limits>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

using kernels::Structure;
using Mode = AllocationMode;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Matrices that own their spectra.
struct Problem {
  std::deque<std::vector<float>> sigmas;
  std::vector<MatrixSpectra> matrices;

  MatrixSpectra& add(std::string name, double weight) {
    return matrices.emplace_back(MatrixSpectra{std::move(name), {}, weight});
  }
  void add_tile(MatrixSpectra& matrix, index_t h, index_t w, std::vector<float> sigma) {
    sigmas.push_back(std::move(sigma));
    matrix.tiles.push_back({h, w, sigmas.back()});
  }
  /// A matrix cut into tiles whose spectra fall, each value by a factor between `slowest` and 1, from about `size`.
  void add_random(std::mt19937& engine, const TileGrid& grid, double weight, float size, float slowest) {
    std::uniform_real_distribution<float> decay(slowest, 1.0f);
    MatrixSpectra& matrix = add("matrix " + std::to_string(matrices.size()), weight);
    for (index_t t = 0; t < grid.size(); ++t) {
      std::vector<float> sigma(static_cast<std::size_t>(grid.tile(t).full_rank()));
      float s = size * decay(engine);
      for (float& value : sigma) value = s *= decay(engine);
      add_tile(matrix, grid.tile(t).height, grid.tile(t).width, std::move(sigma));
    }
  }
};

/// Everything a choice claims is so: bytes, energies, kinds; returns the bytes of each matrix.
std::vector<index_t> check_consistency(const Problem& problem, const TileFormat& format, const Allocation& allocation) {
  std::vector<index_t> bytes;
  double loss = 0;
  index_t dense = 0;
  for (std::size_t m = 0; m < problem.matrices.size(); ++m) {
    const MatrixSpectra& matrix = problem.matrices[m];
    bytes.push_back(0);
    EXPECT_EQ(allocation.choices[m].size(), matrix.tiles.size());
    for (std::size_t t = 0; t < matrix.tiles.size(); ++t) {
      const TileSpectrum& tile = matrix.tiles[t];
      const TileChoice& choice = allocation.choices[m][t];
      double discarded = 0;
      for (index_t k = tile.full_rank(); k-- > choice.rank;) discarded += std::pow(double{tile.sigma[k]}, 2);
      EXPECT_DOUBLE_EQ(choice.discarded, discarded);
      EXPECT_EQ(choice.kind, choice.rank == tile.full_rank() ? Structure::dense : format.storage);
      loss += matrix.weight * discarded;
      bytes.back() += stored_bytes(choice.kind, tile.height, tile.width, choice.rank, format.type);
      dense += dense_bytes(tile.height, tile.width, format.type);
    }
  }
  EXPECT_NEAR(allocation.predicted_loss, loss, 1e-12 * loss);
  EXPECT_EQ(allocation.bytes, std::accumulate(bytes.begin(), bytes.end(), index_t{0}));
  EXPECT_EQ(allocation.bytes_dense, dense);
  return bytes;
}

/// One way to store a tile.
struct Point {
  index_t bytes;
  double loss;
};

std::vector<std::vector<Point>> points_of(const Problem& problem, const TileFormat& format) {
  std::vector<std::vector<Point>> points;
  for (const MatrixSpectra& matrix : problem.matrices) {
    for (const TileSpectrum& tile : matrix.tiles) {
      std::vector<Point>& of_tile = points.emplace_back();
      const index_t r = tile.full_rank();
      double tail = 0;
      for (index_t k = r; k >= 0; --k) {
        if (k < r) tail += std::pow(double{tile.sigma[k]}, 2);
        if (k < r && !format.is_fast(k, r)) continue;
        const Structure kind = k == r ? Structure::dense : format.storage;
        of_tile.push_back({stored_bytes(kind, tile.height, tile.width, k, format.type), matrix.weight * tail});
      }
    }
  }
  return points;
}

/// Least loss of tiles first … within `room` bytes, by trying everything.
double least_loss(const std::vector<std::vector<Point>>& points, index_t room, std::size_t first = 0) {
  if (first == points.size()) return 0;
  double best = infinity;
  for (const Point& point : points[first]) {
    if (point.bytes <= room) best = std::min(best, point.loss + least_loss(points, room - point.bytes, first + 1));
  }
  return best;
}

/// Corners of the lower convex hull of a tile's points, by growing bytes, as far as loss falls.
std::vector<Point> hull_of(const std::vector<Point>& points) {
  const auto smaller = [](const Point& a, const Point& b) { return a.bytes < b.bytes; };
  std::vector<Point> hull = {*std::min_element(points.begin(), points.end(), smaller)};
  while (true) {
    const Point from = hull.back();
    const Point* best = nullptr;
    double steepest = 0;
    for (const Point& to : points) {
      const double gain = (from.loss - to.loss) / static_cast<double>(to.bytes - from.bytes);
      if (to.bytes > from.bytes && to.loss < from.loss && gain > steepest) {
        steepest = gain;
        best = &to;
      }
    }
    if (best == nullptr) return hull;
    hull.push_back(*best);
  }
}

/// Largest loss that one step of a hull saves.
double largest_step(const std::vector<std::vector<Point>>& points) {
  double largest = 0;
  for (const std::vector<Point>& of_tile : points) {
    const std::vector<Point> hull = hull_of(of_tile);
    for (std::size_t i = 1; i < hull.size(); ++i) largest = std::max(largest, hull[i - 1].loss - hull[i].loss);
  }
  return largest;
}

/// Whether every tile is at a corner of its hull: the budget's last step was whole.
bool ends_at_a_step(const std::vector<std::vector<Point>>& points, const Problem& problem, const TileFormat& format,
                    const Allocation& allocation) {
  std::size_t number = 0;
  for (std::size_t m = 0; m < problem.matrices.size(); ++m) {
    for (std::size_t t = 0; t < problem.matrices[m].tiles.size(); ++t) {
      const TileSpectrum& tile = problem.matrices[m].tiles[t];
      const TileChoice& choice = allocation.choices[m][t];
      const index_t bytes = stored_bytes(choice.kind, tile.height, tile.width, choice.rank, format.type);
      const std::vector<Point> hull = hull_of(points[number++]);
      if (std::none_of(hull.begin(), hull.end(), [&](const Point& p) { return p.bytes == bytes; })) return false;
    }
  }
  return true;
}

TEST(Allocation, IsOptimalToAStepAgainstExhaustiveSearch) {
  std::mt19937 engine(1);
  for (const Structure storage : {Structure::interpolative, Structure::low_rank}) {
    for (int round = 0; round < 12; ++round) {
      Problem problem;
      problem.add_random(engine, TileGrid(14, 7, 7 + round % 2, 7), 1, 10, 0.3f);
      problem.add_random(engine, TileGrid(6, 8, 6, 8), 1e5, 0.05f, 0.3f);
      const TileFormat format{storage, round % 3 == 0 ? Codec::f32 : Codec::bf16, 1, round % 4 == 1 ? 0.5 : 1.0};
      const auto points = points_of(problem, format);
      for (double keep : {0.1, 0.3, 0.5, 0.7, 0.9, 0.97}) {
        const Allocation found = allocate(keep, problem.matrices, {.format = format, .floor = 0});
        check_consistency(problem, format, found);
        const auto budget = static_cast<index_t>(keep * static_cast<double>(found.bytes_dense));
        EXPECT_LE(found.bytes, budget);
        const double best = least_loss(points, budget);
        EXPECT_GE(found.predicted_loss, best * (1 - 1e-12));
        EXPECT_LE(found.predicted_loss, best + largest_step(points)) << "round " << round << " keep " << keep;
      }
    }
  }
}

TEST(Allocation, IsOptimalWhereTheBudgetEndsAtAStep) {
  std::mt19937 engine(2);
  int exact = 0;
  for (const Structure storage : {Structure::interpolative, Structure::low_rank}) {
    for (int round = 0; round < 6; ++round) {
      Problem problem;
      problem.add_random(engine, TileGrid(18, 9, 9, 9), 2, 10, 0.5f);
      problem.add_random(engine, TileGrid(8, 9, 9, 9), 5e3, 0.2f, 0.5f);
      const TileFormat format{storage, Codec::f32};
      const auto points = points_of(problem, format);
      for (double keep = 0.1; keep < 0.95; keep += 0.03) {
        const Allocation found = allocate(keep, problem.matrices, {.format = format, .floor = 0});
        if (!ends_at_a_step(points, problem, format, found)) continue;
        // Nothing better can be had for the bytes it took.
        EXPECT_LE(found.predicted_loss, least_loss(points, found.bytes) * (1 + 1e-12));
        ++exact;
      }
    }
  }
  EXPECT_GE(exact, 100);
}

TEST(Allocation, TakesTheHullOfInterpolativeTiles) {
  // All singular values are equal: energy is linear in the rank and bytes are concave, so every rank between 0 and
  // dense lies above the chord. Half the budget is half the tiles dense, not all at half rank.
  Problem problem;
  MatrixSpectra& matrix = problem.add("flat", 1);
  for (int t = 0; t < 8; ++t) problem.add_tile(matrix, 64, 64, std::vector<float>(64, 1.0f));
  const TileFormat format{Structure::interpolative, Codec::f32};
  const Allocation found = allocate(0.51, problem.matrices, {.mode = Mode::uniform, .format = format});
  for (std::size_t t = 0; t < 4; ++t) EXPECT_EQ(found.choices[0][t].kind, Structure::dense);
  for (std::size_t t = 5; t < 8; ++t) EXPECT_EQ(found.choices[0][t].rank, 0);
}

TEST(Allocation, MeetsTheBudgetFromBelow) {
  std::mt19937 engine(3);
  std::uniform_int_distribution<index_t> size(740, 1000);  // 0.5 % of 0.1 of it is a rank of 128 + 128
  std::uniform_real_distribution<double> keep_of(0.1, 0.95);
  for (int round = 0; round < 40; ++round) {
    Problem problem;
    const index_t tile = round % 2 == 0 ? 128 : 48;
    for (int m = 0; m < 3; ++m) {
      const TileGrid grid(size(engine), size(engine), tile, tile);
      problem.add_random(engine, grid, std::pow(10.0, 4 * m), std::pow(10.0f, -2.0f * m), 0.8f);
    }
    const TileFormat format{round % 4 < 2 ? Structure::interpolative : Structure::low_rank,
                            std::array{Codec::bf16, Codec::f32, Codec::f16}[round % 3], round % 8 < 4 ? 1 : 8};
    const double keep = keep_of(engine);
    const Allocation global = allocate(keep, problem.matrices, {.format = format});
    check_consistency(problem, format, global);
    const double spent = static_cast<double>(global.bytes) / static_cast<double>(global.bytes_dense);
    EXPECT_LE(spent, keep);
    EXPECT_GE(spent, 0.995 * keep) << "round " << round;
    const Allocation uniform = allocate(keep, problem.matrices, {.mode = Mode::uniform, .format = format});
    const std::vector<index_t> bytes = check_consistency(problem, format, uniform);
    for (std::size_t m = 0; m < bytes.size(); ++m) {
      index_t dense = 0;
      for (const TileSpectrum& t : problem.matrices[m].tiles) dense += dense_bytes(t.height, t.width, format.type);
      EXPECT_LE(static_cast<double>(bytes[m]), keep * static_cast<double>(dense));
      EXPECT_GE(static_cast<double>(bytes[m]), 0.995 * keep * static_cast<double>(dense)) << "round " << round;
    }
  }
}

TEST(Allocation, ChoosesNothingSlowerThanDense) {
  std::mt19937 engine(6);
  Problem problem;
  problem.add_random(engine, TileGrid(300, 260, 64, 64), 1, 1, 0.9f);
  problem.add_random(engine, TileGrid(130, 300, 64, 64), 100, 1, 0.9f);
  for (const Structure storage : {Structure::interpolative, Structure::low_rank}) {
    for (const double share : {0.25, 0.4, 0.8}) {
      const TileFormat format{storage, Codec::bf16, 1, share};
      for (const Mode mode : {Mode::global, Mode::uniform, Mode::even}) {
        int low = 0, dense = 0;
        for (const double keep : {0.2, 0.6, 0.9}) {
          const Allocation found = allocate(keep, problem.matrices, {.mode = mode, .format = format});
          check_consistency(problem, format, found);
          EXPECT_LE(static_cast<double>(found.bytes), keep * static_cast<double>(found.bytes_dense));
          for (std::size_t m = 0; m < problem.matrices.size(); ++m) {
            for (std::size_t t = 0; t < found.choices[m].size(); ++t) {
              const index_t rank = found.choices[m][t].rank, full = problem.matrices[m].tiles[t].full_rank();
              EXPECT_TRUE(rank == full || static_cast<double>(rank) <= share * static_cast<double>(full));
              ++(rank == full ? dense : low);
            }
          }
        }
        EXPECT_GT(low, 0);
        EXPECT_EQ(dense > 0, mode != Mode::even);
      }
    }
  }
}

TEST(Allocation, AlignsAllTilesButTheLast) {
  std::mt19937 engine(4);
  Problem problem;
  problem.add_random(engine, TileGrid(512, 512, 128, 128), 1, 1, 0.8f);
  problem.add_random(engine, TileGrid(512, 256, 128, 128), 100, 1, 0.8f);
  for (const Structure storage : {Structure::interpolative, Structure::low_rank}) {
    const TileFormat format{storage, Codec::bf16, 16};
    index_t largest = 127;
    while (smallest_kind(format, 128, 128, largest) == Structure::dense) --largest;
    for (double keep : {0.2, 0.5, 0.8}) {
      int unaligned = 0;
      for (const auto& choices : allocate(keep, problem.matrices, {.format = format}).choices) {
        for (const TileChoice& choice : choices) unaligned += choice.rank % 16 != 0 && choice.rank != largest;
      }
      EXPECT_LE(unaligned, 1);
    }
  }
}

TEST(Allocation, NeverLosesMoreWithALargerBudget) {
  std::mt19937 engine(5);
  for (const Structure storage : {Structure::interpolative, Structure::low_rank}) {
    for (const Mode mode : {Mode::global, Mode::uniform, Mode::even}) {
      for (const index_t align : {1, 4}) {
        Problem problem;
        problem.add_random(engine, TileGrid(32, 22, 16, 11), 1, 10, 0.4f);
        problem.add_random(engine, TileGrid(20, 30, 16, 11), 1e6, 1e-3f, 0.9f);
        problem.add_random(engine, TileGrid(24, 24, 12, 12), 0, 1, 0.5f);
        const AllocationOptions options{.mode = mode, .format = {storage, Codec::bf16, align}};
        double before = infinity;
        for (int step = 0; step <= 700; ++step) {
          const double loss = allocate(step / 700.0, problem.matrices, options).predicted_loss;
          EXPECT_LE(loss, before * (1 + 1e-12)) << static_cast<int>(mode) << " " << step;
          before = loss;
        }
        EXPECT_EQ(before, 0);
      }
    }
  }
}

TEST(Allocation, KeepsToFloorAndCeiling) {
  // The second is worth so little that it gets no more than its floor as long as the others can take the rest, the
  // third so much that it gets its ceiling.
  std::mt19937 engine(6);
  Problem problem;
  const TileGrid grid(240, 240, 24, 24);
  for (double weight : {1.0, 1e-12, 1e12}) problem.add_random(engine, grid, weight, 1, 0.9f);
  const auto shares = [&](double keep, double floor, double ceiling) {
    const AllocationOptions options{
        .format = {Structure::interpolative, Codec::f32}, .floor = floor, .ceiling = ceiling};
    std::vector<double> out;
    for (index_t bytes : check_consistency(problem, options.format, allocate(keep, problem.matrices, options))) {
      out.push_back(static_cast<double>(bytes) / (240 * 240 * 4));
    }
    return out;
  };
  for (double keep : {0.3, 0.6, 0.8}) {
    EXPECT_LT(shares(keep, 0, infinity)[1], 0.5 * keep);
    EXPECT_GT(shares(keep, 0, infinity)[2], 1.1 * keep);
    EXPECT_GE(shares(keep, 0.5, infinity)[1], 0.5 * keep - 0.01);
    EXPECT_NEAR(shares(keep, 0.5, 1.1)[1], 0.8 * keep, 0.01);
    EXPECT_NEAR(shares(keep, 0.5, 1.1)[0], 1.1 * keep, 0.01);
    EXPECT_NEAR(shares(keep, 0.5, 1.1)[2], 1.1 * keep, 0.01);
    EXPECT_LE(shares(keep, 0.5, 1.1)[2], 1.1 * keep);
    for (double share : shares(keep, 1, infinity)) EXPECT_NEAR(share, keep, 0.01);
    for (double share : shares(keep, 0.5, 1)) EXPECT_NEAR(share, keep, 0.01);
  }
}

TEST(Allocation, WeighsEnergiesOfDifferentScale) {
  // The same matrix in other units, its weight in the inverse: both are cut alike.
  std::mt19937 engine(7);
  Problem problem;
  problem.add_random(engine, TileGrid(96, 96, 32, 32), 0x1p-20, 0x1p20f, 0.8f);
  MatrixSpectra& scaled = problem.add("scaled", 0x1p60);
  for (std::size_t t = 0; t < 9; ++t) {
    std::vector<float> sigma = problem.sigmas[t];
    for (float& value : sigma) value *= 0x1p-40f;
    problem.add_tile(scaled, 32, 32, std::move(sigma));
  }
  const Allocation found = allocate(0.6, problem.matrices, {.format = {Structure::interpolative, Codec::bf16}});
  index_t difference = 0;
  for (std::size_t t = 0; t < 9; ++t) difference += std::abs(found.choices[0][t].rank - found.choices[1][t].rank);
  EXPECT_LE(difference, 2);  // the last step of one of them
}

TEST(Allocation, LeavesTheRestToMatricesOfNoWeight) {
  Problem problem;
  MatrixSpectra& none = problem.add("none", 0);
  problem.add_tile(none, 16, 16, std::vector<float>(16, 1e6f));
  MatrixSpectra& some = problem.add("some", 1e-30);
  problem.add_tile(some, 16, 16, {5, 3, 1e-8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  const AllocationOptions options{.format = {Structure::low_rank, Codec::f32}, .floor = 0};
  const Allocation found = allocate(0.5, problem.matrices, options);
  EXPECT_EQ(found.choices[1][0].rank, 3);  // what can help, not more
  EXPECT_GT(found.choices[0][0].rank, 3);
  EXPECT_EQ(found.predicted_loss, 0);
}

TEST(Allocation, EvenGivesEachTileTheLargestRankThatFits) {
  Problem problem;
  MatrixSpectra& matrix = problem.add("w", 1);
  problem.add_tile(matrix, 128, 128, std::vector<float>(128, 1.0f));
  problem.add_tile(matrix, 64, 128, std::vector<float>(64, 2.0f));
  const auto ranks = [&](double keep, Structure storage, index_t align) {
    const AllocationOptions options{.mode = Mode::even, .format = {storage, Codec::bf16, align}};
    const Allocation found = allocate(keep, problem.matrices, options);
    check_consistency(problem, options.format, found);
    return std::pair(found.choices[0][0].rank, found.choices[0][1].rank);
  };
  EXPECT_EQ(ranks(0.8, Structure::interpolative, 1), std::pair(70, 44));  // 70 * 186 <= 0.8 * 128 * 128 < 71 * 185
  // With singular values, 4 bytes each: 2 · 50 · 256 + 4 · 128 <= 0.8 · 2 · 128 · 128 < 2 · 51 · 256 + 4 · 128.
  EXPECT_EQ(ranks(0.8, Structure::low_rank, 1), std::pair(50, 33));
  EXPECT_EQ(ranks(0.8, Structure::interpolative, 8), std::pair(64, 40));
  EXPECT_EQ(ranks(0, Structure::interpolative, 1), std::pair(0, 0));
  EXPECT_EQ(ranks(1, Structure::interpolative, 8), std::pair(128, 64));
}

TEST(Allocation, SavesWhatCannotHelp) {
  Problem problem;
  MatrixSpectra& matrix = problem.add("w", 1);
  problem.add_tile(matrix, 16, 16, std::vector<float>(16, 0.0f));
  problem.add_tile(matrix, 16, 16, {5, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  for (const Mode mode : {Mode::global, Mode::uniform}) {
    const Allocation found = allocate(0.9, problem.matrices, {.mode = mode});
    EXPECT_EQ(found.choices[0][0].rank, 0);
    EXPECT_EQ(found.choices[0][0].kind, Structure::interpolative);
    EXPECT_EQ(found.choices[0][1].rank, 2);
  }
}

TEST(Allocation, OneIsAllDenseAndZeroIsNothing) {
  std::mt19937 engine(8);
  Problem problem;
  problem.add_random(engine, TileGrid(96, 64, 32, 32), 1, 1, 0.8f);
  problem.add_random(engine, TileGrid(64, 48, 32, 32), 0, 1, 0.8f);
  for (const Mode mode : {Mode::global, Mode::uniform, Mode::even}) {
    const Allocation all = allocate(1, problem.matrices, {.mode = mode});
    const Allocation nothing = allocate(0, problem.matrices, {.mode = mode});
    for (std::size_t m = 0; m < 2; ++m) {
      for (const TileChoice& choice : all.choices[m]) EXPECT_EQ(choice.kind, Structure::dense);
      for (const TileChoice& choice : all.choices[m]) EXPECT_EQ(choice.discarded, 0);
      for (const TileChoice& choice : nothing.choices[m]) EXPECT_EQ(choice.rank, 0);
    }
    EXPECT_EQ(all.bytes, all.bytes_dense + 10 * table_entry_bytes);
    EXPECT_EQ(nothing.bytes, 10 * table_entry_bytes);
  }
}

TEST(SmallestKeep, ReachesTheLossAndNoLessDoes) {
  std::mt19937 engine(9);
  Problem problem;
  for (double weight : {1.0, 30.0, 0.0}) problem.add_random(engine, TileGrid(96, 128, 32, 32), weight, 1, 0.8f);
  for (const Mode mode : {Mode::global, Mode::uniform, Mode::even}) {
    const AllocationOptions options{.mode = mode};
    const double all = allocate(0, problem.matrices, options).predicted_loss;
    for (double part : {0.5, 0.1, 1e-3}) {
      const double keep = smallest_keep(part * all, problem.matrices, options);
      EXPECT_LE(allocate(keep, problem.matrices, options).predicted_loss, part * all);
      EXPECT_GT(allocate(keep - 0x1p-20, problem.matrices, options).predicted_loss, part * all);
    }
    EXPECT_EQ(smallest_keep(all, problem.matrices, options), 0);
    EXPECT_LE(smallest_keep(0, problem.matrices, options), 1);
  }
}

TEST(Allocation, ChecksWhatItIsGiven) {
  Problem problem;
  problem.add_tile(problem.add("up", 1), 2, 2, {2, 1});
  EXPECT_THROW(allocate(1.1, problem.matrices, {}), Error);
  EXPECT_THROW(allocate(std::nan(""), problem.matrices, {}), Error);
  EXPECT_THROW(allocate(0.5, problem.matrices, {.floor = 1.5}), Error);
  EXPECT_THROW(allocate(0.5, problem.matrices, {.ceiling = 0.5}), Error);
  EXPECT_THROW(allocate(0.5, problem.matrices, {.format = {.align = 0}}), Error);
  EXPECT_THROW(smallest_keep(-1, problem.matrices, {}), Error);
  for (double weight : {-1.0, infinity, std::nan("")}) {
    problem.matrices[0].weight = weight;
    EXPECT_THROW(allocate(0.5, problem.matrices, {}), Error);
  }
  EXPECT_TRUE(allocate(0.5, {}, {}).choices.empty());
}

TEST(TileSpectra, FollowTheGrid) {
  const std::vector<float> sigma = {9, 8, 7, 6, 5, 4};
  const std::vector<TileSpectrum> tiles = tile_spectra(TileGrid(3, 5, 2, 3), sigma);  // 2×3 2×2 1×3 1×2
  ASSERT_EQ(tiles.size(), 4u);
  EXPECT_EQ(tiles[1].width, 2);
  EXPECT_EQ(tiles[1].sigma[0], 7);
  EXPECT_EQ(tiles[2].height, 1);
  EXPECT_EQ(tiles[3].sigma[0], 4);
  EXPECT_EQ(tiles[3].full_rank(), 1);
}

}  // namespace
}  // namespace hack::svd
