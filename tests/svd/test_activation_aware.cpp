// The activation-aware methods by their properties, on small matrices with strongly coupled inputs. Losses are summed
// with plain loops in double; "damped" is the loss the methods minimise, tr(E (H + d I) Eᵀ).

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "svd/fit/weighted_error.hpp"
#include "svd/fit/weighted_factorizer.hpp"
#include "svd/fit/whitening.hpp"
#include "tests/svd/weighted_problem.hpp"

namespace hack::svd {
namespace {

using kernels::Structure;
using namespace testing_support;
constexpr Structure factors = Structure::low_rank;

constexpr WeightingOptions whiten{.damping = 0.01, .sweeps = 0, .refit = false};
constexpr WeightingOptions feedback{.damping = 0.01, .sweeps = 1, .refit = false};

// Tiles are factorized in f32: W' is good to some 1e-6 of W. A loss is second order in errors of factors at a minimum
// and first order elsewhere, so the loss of the same method in exact arithmetic is met to about 1e-5.
constexpr double rounding = 1e-5;

TEST(WeightedError, IsTheTraceByPlainLoops) {
  const Problem problem(TileGrid(131, 37, 16, 16));
  Problem other = problem;
  for (float& number : other.w) number += 0.01f;
  Queue<Device::cpu> queue(2);
  const double energy = trace_of_square(problem.matrix(), problem.h);
  EXPECT_NEAR(weighted_energy<Device::cpu>(queue, problem.values(), problem.h.view()), energy, 1e-10 * energy);
  const double error = trace_of_square(difference(problem.matrix(), other.matrix()), problem.h);
  EXPECT_NEAR(weighted_error<Device::cpu>(queue, problem.values(), other.values(), problem.h.view()), error,
              1e-10 * error);
  Queue<Device::cpu> three(3);
  EXPECT_EQ(weighted_energy<Device::cpu>(queue, problem.values(), problem.h.view()),
            weighted_energy<Device::cpu>(three, problem.values(), problem.h.view()));
}

TEST(Whitening, FactorizesTheDampedBlocks) {
  const Problem problem(TileGrid(8, 37, 8, 16));
  Queue<Device::cpu> queue(2);
  const Whitening whitening(queue, problem.h.view(), problem.grid, 0.01);
  ASSERT_EQ(whitening.tile_cols(), 3);
  const Dense damped = problem.damped(0.01);
  for (index_t j = 0; j < 3; ++j) {
    const index_t w = whitening.width(j);
    EXPECT_EQ(w, j == 2 ? 5 : 16);
    for (index_t a = 0; a < w; ++a) {
      for (index_t b = 0; b < w; ++b) {
        double square = 0, identity = 0;
        for (index_t c = 0; c < w; ++c) {
          square += whitening.root(j)(a, c) * whitening.root(j)(b, c);
          identity += whitening.inverse(j)(a, c) * damped(16 * j + c, 16 * j + b);
        }
        EXPECT_NEAR(square, damped(16 * j + a, 16 * j + b), 1e-12 * largest(damped));
        EXPECT_NEAR(identity, a == b ? 1 : 0, 1e-10);  // condition of the blocks up to 1e4
        EXPECT_TRUE(b <= a || whitening.root(j)(a, b) == 0);
      }
    }
  }
}

TEST(Whitening, RaisesTheDampingWhereABlockIsIndefinite) {
  Problem problem(TileGrid(8, 12, 4, 6));
  for (index_t i = 0; i < 12; ++i) {
    for (index_t j = 0; j < 12; ++j) problem.h(i, j) = i == j ? 1 : 0;
  }
  problem.h(3, 3) = -0.5;
  Queue<Device::cpu> queue(1);
  const Whitening whitening(queue, problem.h.view(), problem.grid, 0);
  EXPECT_NEAR(whitening.damping(0), 0.5, 1e-9);
  EXPECT_GT(whitening.damping(0), 0.5);
  EXPECT_NEAR(whitening.root(0)(0, 0), std::sqrt(1.5), 1e-9);
  EXPECT_NEAR(whitening.inverse(0)(0, 0), 1 / 1.5, 1e-9);
  EXPECT_EQ(whitening.damping(1), 0);
}

TEST(Whitening, RefusesWhatAreNoStatistics) {
  Problem problem(TileGrid(8, 12, 4, 4));
  Queue<Device::cpu> queue(1);
  const auto build = [&](double damping) { Whitening(queue, problem.h.view(), problem.grid, damping); };
  EXPECT_THROW(build(-0.1), Error);
  EXPECT_THROW(build(std::nan("")), Error);
  Problem intact = problem;
  problem.h(3, 7) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(build(0.01), Error);
  problem = intact;
  for (double& number : problem.h.numbers) number = -number;
  EXPECT_THROW(build(0.01), Error);
  EXPECT_THROW(WeightedFactorizer(queue, intact.h.view(), intact.grid, {.sweeps = -1}), Error);
}

TEST(Rounding, IsMadeUpForByLeftFactors) {
  for (const TileGrid& grid : {TileGrid(24, 40, 12, 16), TileGrid(24, 40, 24, 40)}) {
    Problem problem(grid);
    // One direction in which inputs are huge, as trained models have them.
    for (index_t i = 0; i < 40; ++i) {
      for (index_t j = 0; j < 40; ++j) problem.h(i, j) += 1e7 * (1 + i % 3) * (1 + j % 3);
    }
    const std::vector<TileChoice> choices = problem.uniform(10);
    WeightingOptions options{.damping = 1e-9};
    const auto rounded_loss = [&] {
      std::vector<TruncatedTile> tiles = factorize(problem, choices, options);
      for (TruncatedTile& tile : tiles) {
        for (index_t i = 0; i < tile.vt.size(); ++i) tile.vt.data()[i] = to_float(to_bf16(tile.vt.data()[i]));
      }
      return trace_of_square(difference(problem.matrix(), rebuild(problem, choices, tiles)), problem.damped(1e-9));
    };
    const double exact = loss(problem, choices, options);
    const double careless = rounded_loss();
    options.rounding = DType::bf16;
    const double refitted = rounded_loss();
    EXPECT_GT(careless, 1.2 * exact);
    EXPECT_LT(refitted, 1.02 * exact);
  }
}

TEST(Spectra, AreThoseOfTheWhitenedTiles) {
  const Problem problem(TileGrid(37, 53, 16, 24));
  Queue<Device::cpu> queue(2);
  const WeightedFactorizer factorizer(queue, problem.h.view(), problem.grid, whiten);
  const Whitening whitening(queue, problem.h.view(), problem.grid, 0.01);
  const std::vector<float> sigma = factorizer.spectra(queue, problem.grid, problem.all_rows());
  std::size_t at = 0;
  for (index_t t = 0; t < problem.grid.size(); ++t) {
    const Tile tile = problem.grid.tile(t);
    std::vector<float> whitened(static_cast<std::size_t>(tile.height * tile.width));
    for (index_t i = 0; i < tile.height; ++i) {
      for (index_t j = 0; j < tile.width; ++j) {
        double sum = 0;
        for (index_t c = j; c < tile.width; ++c) {
          sum += problem.values()(tile.row + i, tile.col + c) * whitening.root(tile.j)(c, j);
        }
        whitened[static_cast<std::size_t>(i * tile.width + j)] = static_cast<float>(sum);
      }
    }
    const std::vector<float> expected = plain_spectrum({whitened.data(), tile.height, tile.width});
    for (const float value : expected) EXPECT_NEAR(sigma[at++], value, rounding * expected[0]);
  }
  EXPECT_EQ(at, sigma.size());
  const std::vector<float> last = factorizer.spectra(
      queue, problem.grid, {"w", {2, 3}, problem.values().rows_from(32, 5)});  // rows of tiles by themselves
  EXPECT_TRUE(std::equal(last.rbegin(), last.rend(), sigma.rbegin()));
}

TEST(Whiten, LosesWhatTheSpectrumSays) {
  // One tile: the loss is Σ_{i > k} σ_i² of W S exactly, and no product of rank k loses less (Eckart-Young).
  for (const auto& [m, n] : {std::pair<index_t, index_t>{24, 40}, {40, 24}}) {
    const Problem problem(TileGrid(m, n, 64, 64));
    Queue<Device::cpu> queue(1);
    const WeightedFactorizer factorizer(queue, problem.h.view(), problem.grid, whiten);
    const std::vector<float> sigma = factorizer.spectra(queue, problem.grid, problem.all_rows());
    for (index_t k : {1, 7, 23}) {
      double discarded = 0;
      for (std::size_t i = static_cast<std::size_t>(k); i < sigma.size(); ++i) {
        discarded += static_cast<double>(sigma[i]) * sigma[i];
      }
      EXPECT_NEAR(loss(problem, problem.uniform(k), whiten), discarded, rounding * discarded) << m << " rank " << k;
    }
  }
}

TEST(Whiten, BeatsEveryPerturbation) {
  const Problem problem(TileGrid(20, 28, 32, 32));
  const std::vector<TileChoice> choices = problem.uniform(6);
  std::vector<TruncatedTile> tiles = factorize(problem, choices, whiten);
  const Dense damped = problem.damped(whiten.damping);
  const auto lost = [&] {
    return trace_of_square(difference(problem.matrix(), rebuild(problem, choices, tiles)), damped);
  };
  const double least = lost();
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (int trial = 0; trial < 60; ++trial) {
    const float step = std::pow(10.0f, -1.0f - static_cast<float>(trial % 3));
    std::vector<TruncatedTile> kept = factorize(problem, choices, whiten);
    for (Buffer<float>* part : {&tiles[0].u, &tiles[0].vt}) {
      for (index_t i = 0; i < part->size(); ++i) part->data()[i] += step * normal(random);
    }
    EXPECT_GT(lost(), least);
    tiles = std::move(kept);
  }
}

TEST(Methods, ArePlainSvdWhereInputsAreWhite) {
  Problem problem(TileGrid(37, 53, 16, 16));
  for (index_t i = 0; i < problem.h.rows; ++i) {
    for (index_t j = 0; j < problem.h.cols; ++j) problem.h(i, j) = i == j ? 1 : 0;
  }
  const std::vector<TileChoice> choices = problem.uniform(5);
  for (const WeightingOptions& options :
       {WeightingOptions{0, 0, false}, WeightingOptions{0, 1, true}, WeightingOptions{0, 2, false}}) {
    const std::vector<TruncatedTile> tiles = factorize(problem, choices, options);
    Queue<Device::cpu> queue(1);
    const std::vector<float> spectra = WeightedFactorizer(queue, problem.h.view(), problem.grid, options)
                                           .spectra(queue, problem.grid, problem.all_rows());
    std::size_t at = 0;
    for (index_t t = 0; t < problem.grid.size(); ++t) {
      const Tile tile = problem.grid.tile(t);
      const std::vector<float> sigma =
          plain_spectrum(problem.values().block(tile.row, tile.col, tile.height, tile.width));
      for (std::size_t p = 0; p < sigma.size(); ++p, ++at) {
        EXPECT_NEAR(spectra[at], sigma[p], rounding * sigma[0]);
        const TruncatedTile& truncated = tiles[static_cast<std::size_t>(t)];
        if (static_cast<index_t>(p) < truncated.rank) {
          EXPECT_NEAR(truncated.sigma.data()[p], sigma[p], rounding * sigma[0]);
        }
      }
    }
  }
}

TEST(Methods, ReproduceTheMatrixAtFullRank) {
  const Problem problem(TileGrid(37, 53, 16, 16));
  const std::vector<TileChoice> choices = problem.uniform(16);
  for (const WeightingOptions& options : {whiten, feedback, WeightingOptions{}, WeightingOptions{0.01, 3, true}}) {
    const Dense rebuilt = rebuild(problem, choices, factorize(problem, choices, options));
    // 1e-6 in whitened coordinates, times the condition of S: at most 1e2 with this damping.
    EXPECT_LE(largest(difference(problem.matrix(), rebuilt)), 1e-4);
    EXPECT_LE(loss(problem, choices, options), 1e-10 * trace_of_square(problem.matrix(), problem.damped(0.01)));
  }
}

TEST(Methods, ReturnOrthonormalFactors) {
  const Problem problem(TileGrid(37, 53, 16, 16));
  const std::vector<TruncatedTile> tiles = factorize(problem, problem.uniform(7), {});
  for (index_t t = 0; t < problem.grid.size(); ++t) {
    const TruncatedTile& tile = tiles[static_cast<std::size_t>(t)];
    const Tile at = problem.grid.tile(t);
    for (index_t p = 0; p < tile.rank; ++p) {
      EXPECT_TRUE(p == 0 || tile.sigma.data()[p] <= tile.sigma.data()[p - 1]);
      for (index_t q = 0; q < tile.rank; ++q) {
        double u = 0, v = 0;
        for (index_t i = 0; i < at.height; ++i) {
          u += static_cast<double>(tile.u.data()[i * tile.rank + p]) * tile.u.data()[i * tile.rank + q];
        }
        for (index_t j = 0; j < at.width; ++j) {
          v += static_cast<double>(tile.vt.data()[p * at.width + j]) * tile.vt.data()[q * at.width + j];
        }
        EXPECT_NEAR(u, p == q ? 1 : 0, 3e-6);
        EXPECT_NEAR(v, p == q ? 1 : 0, 3e-6);
      }
    }
  }
}

TEST(Feedback, NeverRaisesTheLossFromSweepToSweep) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    const Problem problem(TileGrid(37, 61, 16, 16), seed);
    for (index_t k : {2, 5, 9}) {
      const std::vector<TileChoice> choices = problem.uniform(k);
      double before = loss(problem, choices, feedback);
      EXPECT_LT(before, loss(problem, choices, whiten));  // not a law, but what feedback is for
      for (int sweeps = 2; sweeps <= 6; ++sweeps) {
        const double after = loss(problem, choices, {.sweeps = sweeps, .refit = false});
        EXPECT_LE(after, before * (1 + rounding)) << "sweep " << sweeps << " rank " << k << " seed " << seed;
        before = after;
      }
    }
  }
}

TEST(Refit, NeverRaisesTheLoss) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    const Problem problem(TileGrid(37, 61, 16, 16), seed);
    const std::vector<TileChoice> choices = problem.uniform(static_cast<index_t>(seed) + 1);
    for (int sweeps : {0, 1, 3}) {
      EXPECT_LT(loss(problem, choices, {.sweeps = sweeps, .refit = true}),
                loss(problem, choices, {.sweeps = sweeps, .refit = false}));
    }
  }
}

TEST(Refit, EqualsDenseLeastSquares) {
  const Problem problem(TileGrid(37, 61, 16, 16));
  const Dense damped = problem.damped(0.01);
  for (const std::vector<TileChoice>& choices : {problem.uniform(4), mixed_choices(problem)}) {
    const std::vector<TruncatedTile> tiles = factorize(problem, choices, {});
    const Dense rebuilt = rebuild(problem, choices, tiles);
    for (index_t i = 0; i < problem.grid.tile_rows(); ++i) {
      const Tile row = problem.grid.tile(i, 0);
      index_t rank_sum = 0;
      for (index_t j = 0; j < problem.grid.tile_cols(); ++j) {
        rank_sum += tiles[static_cast<std::size_t>(i * problem.grid.tile_cols() + j)].rank;
      }
      Dense right(rank_sum, problem.grid.cols());       // block-diagonal
      Dense target(row.height, problem.grid.cols());    // W
      Dense expected(row.height, problem.grid.cols());  // the product of the factors
      index_t at = 0;
      for (index_t j = 0; j < problem.grid.tile_cols(); ++j) {
        const Tile tile = problem.grid.tile(i, j);
        const auto t = static_cast<std::size_t>(i * problem.grid.tile_cols() + j);
        for (index_t p = 0; p < tiles[t].rank; ++p, ++at) {
          for (index_t c = 0; c < tile.width; ++c) right(at, tile.col + c) = tiles[t].vt.data()[p * tile.width + c];
        }
        for (index_t p = 0; p < tile.height; ++p) {
          for (index_t c = tile.col; c < tile.col + tile.width; ++c) {
            target(p, c) = problem.values()(tile.row + p, c);
            expected(p, c) = rebuilt(tile.row + p, c);
          }
        }
      }
      const Dense ph = right * damped;
      const Dense left = transposed(solve(ph * transposed(right), ph * transposed(target)));
      // f32 errors of the right factors times the condition of P H Pᵀ, at most 1e4 with this damping, in its root.
      EXPECT_LE(largest(difference(left * right, expected)), 1e-4);
      const double least = trace_of_square(difference(target, left * right), damped);
      EXPECT_NEAR(trace_of_square(difference(target, expected), damped), least, rounding * least);
    }
  }
}

TEST(Feedback, ChangesNothingWhereInputsOfTilesAreUncorrelated) {
  Problem problem(TileGrid(37, 61, 16, 16));
  for (index_t i = 0; i < problem.h.rows; ++i) {
    for (index_t j = 0; j < problem.h.cols; ++j) problem.h(i, j) *= i / 16 == j / 16;
  }
  const std::vector<TileChoice> choices = mixed_choices(problem);
  const std::vector<TruncatedTile> alone = factorize(problem, choices, whiten);
  EXPECT_EQ(numbers_of(factorize(problem, choices, {.sweeps = 2, .refit = false})), numbers_of(alone));
  const Dense refitted = rebuild(problem, choices, factorize(problem, choices, {}));
  EXPECT_LE(largest(difference(refitted, rebuild(problem, choices, alone))), 1e-4);
}

TEST(Feedback, DenseTilesMakeUpForMissingOnes) {
  const Problem problem(TileGrid(16, 32, 16, 16));
  // The first tile is missing: what the dense one can do is a least-squares problem, E_1 = -E_0 H_01 (H_11)⁻¹.
  const std::vector<TileChoice> choices = {{factors, 0, 0, 0}, {Structure::dense, 16, 0, 0}};
  const Dense rebuilt = rebuild(problem, choices, factorize(problem, choices, feedback));
  const Dense damped = problem.damped(0.01);
  Dense h11(16, 16), h10(16, 16), w0(16, 16), e1(16, 16);
  for (index_t i = 0; i < 16; ++i) {
    for (index_t j = 0; j < 16; ++j) {
      h11(i, j) = damped(16 + i, 16 + j);
      h10(i, j) = damped(16 + i, j);
      w0(i, j) = problem.values()(i, j);
      e1(i, j) = problem.values()(i, 16 + j) - rebuilt(i, 16 + j);
    }
  }
  const Dense expected = transposed(solve(h11, h10 * transposed(w0)));  // -E_1
  for (index_t i = 0; i < 16; ++i) {
    for (index_t j = 0; j < 16; ++j) EXPECT_NEAR(e1(i, j), -expected(i, j), 1e-4 * largest(expected));
  }
}

TEST(Feedback, LeavesRowsOfDenseTilesAsTheyWere) {
  const Problem problem(TileGrid(32, 48, 16, 16));
  const std::vector<TileChoice> choices(6, {Structure::dense, 16, 0, 0});
  EXPECT_EQ(largest(difference(problem.matrix(), rebuild(problem, choices, factorize(problem, choices, {})))), 0.0);
}

TEST(Methods, BearSingularStatistics) {
  const TileGrid grid(37, 53, 16, 16);
  const Problem problem(grid, 1, 7);  // seven inputs for 53 channels
  for (double damping : {0.01, 0.0}) {
    const std::vector<TileChoice> choices = problem.uniform(8);
    for (int sweeps : {0, 1, 2}) {
      const WeightingOptions options{damping, sweeps, true};
      const Dense rebuilt = rebuild(problem, choices, factorize(problem, choices, options));
      EXPECT_TRUE(std::isfinite(largest(rebuilt)));
      const double relative = trace_of_square(difference(problem.matrix(), rebuilt), problem.h) /
                              trace_of_square(problem.matrix(), problem.h);
      EXPECT_LT(relative, 1e-3);  // 8 right factors a tile hold more than seven inputs need
    }
  }
  Problem unused(grid);
  std::fill(unused.h.numbers.begin(), unused.h.numbers.end(), 0.0);
  Problem white = unused;
  for (index_t i = 0; i < white.h.rows; ++i) white.h(i, i) = 1;
  EXPECT_EQ(numbers_of(factorize(unused, unused.uniform(4), whiten)),
            numbers_of(factorize(white, white.uniform(4), {0, 0, false})));
}

TEST(Methods, DoNotDependOnThreadsRowsOrTheScaleOfStatistics) {
  const Problem problem(TileGrid(69, 83, 16, 24));
  const std::vector<TileChoice> choices = mixed_choices(problem);
  const WeightingOptions options{.sweeps = 2};
  const std::vector<TruncatedTile> tiles = factorize(problem, choices, options, 1);
  const std::vector<float> numbers = numbers_of(tiles);
  EXPECT_EQ(numbers_of(factorize(problem, choices, options, 2)), numbers);
  EXPECT_EQ(numbers_of(factorize(problem, choices, options, 3)), numbers);
  Problem louder = problem;
  for (double& number : louder.h.numbers) number = std::ldexp(number, 240);  // beyond f32
  EXPECT_EQ(numbers_of(factorize(louder, choices, options, 1)), numbers);

  Queue<Device::cpu> queue(2);
  const WeightedFactorizer factorizer(queue, problem.h.view(), problem.grid, options);
  std::vector<float> in_parts;
  for (const Range range : {Range{0, 1}, Range{1, 4}, Range{4, 5}}) {
    const index_t first = 16 * range.begin;
    const TileRows rows{"w", range, problem.values().rows_from(first, std::min<index_t>(16 * range.end, 69) - first)};
    const std::span<const TileChoice> theirs = std::span<const TileChoice>(choices).subspan(
        static_cast<std::size_t>(4 * range.begin), static_cast<std::size_t>(4 * range.size()));
    const std::vector<float> part = numbers_of(factorizer.factorize(queue, problem.grid, rows, theirs));
    in_parts.insert(in_parts.end(), part.begin(), part.end());
  }
  EXPECT_EQ(in_parts, numbers);
}

TEST(Methods, NameTheTileThatIsNotFinite) {
  Problem problem(TileGrid(37, 53, 16, 16));
  problem.w[20 * 53 + 40] = std::numeric_limits<float>::quiet_NaN();
  Queue<Device::cpu> queue(2);
  const WeightedFactorizer factorizer(queue, problem.h.view(), problem.grid, {});
  const auto expect_named = [&](const auto& call) {
    try {
      call();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("tensor w, tile (1, 2)"), std::string::npos) << error.what();
    }
  };
  expect_named([&] { factorizer.spectra(queue, problem.grid, problem.all_rows()); });
  expect_named([&] { factorizer.factorize(queue, problem.grid, problem.all_rows(), problem.uniform(3)); });
}

}  // namespace
}  // namespace hack::svd
