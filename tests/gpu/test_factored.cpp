// Products with tiles of all kinds, against the CPU's.

#include <cstring>

#include <gtest/gtest.h>

#include "kernels/cuda/linear/factored_plan.cuh"
#include "kernels/cuda/memory/resources.hpp"
#include "kernels/factored_linear.hpp"
#include "tests/gpu/device_factors.hpp"

namespace hack::kernels {
namespace {

using tests::dense;
using tests::DeviceFactors;
using tests::DeviceMatrix;
using tests::factors;
using tests::Form;
using tests::interpolative;
using tests::random_floats;
using tests::RandomFactors;
using tests::view_of;

constexpr Device G = Device::cuda;

/// Against the matrix in double. Products of many tokens take x and z in two narrow parts: each leaves out 2^-16.
void check(const RandomFactors& w, index_t tokens) {
  SCOPED_TRACE(testing::Message() << tokens << " tokens, " << w.view.rows << " x " << w.view.cols << " "
                                  << to_string(w.view.codec));
  const std::vector<float> x = random_floats(tokens * w.view.cols, 4);
  const DeviceFactors on_device(w);
  const DeviceMatrix<> x_on_device(x, tokens, w.view.cols);
  DeviceMatrix<> y(tokens, w.view.rows);
  Queue<G> queue(1);
  factored_linear<G>(queue, x_on_device.in(), on_device.view(), y.view());
  const std::vector<float> actual = y.host();
  const double split = tokens > 8 && w.view.codec != Codec::f32 ? 0x1p-15 : 0;
  const double terms = static_cast<double>(w.view.cols + w.view.rank_space() + 4) * tests::eps + split;
  for (index_t t = 0; t < tokens; ++t) {
    for (index_t i = 0; i < w.view.rows; ++i) {
      double sum = 0, size = 0;
      for (index_t j = 0; j < w.view.cols; ++j) {
        sum += double{x[t * w.view.cols + j]} * w.matrix[i * w.view.cols + j];
        size += std::fabs(double{x[t * w.view.cols + j]}) * w.sizes[i * w.view.cols + j];
      }
      ASSERT_NEAR(actual[t * w.view.rows + i], sum, terms * size) << t << ", " << i;
    }
  }
}

TEST(GpuFactored, MultipliesWithTwoFactors) {
  for (Codec codec : tests::term_codecs()) {
    const RandomFactors w(130, 67, 64, codec, [](index_t i, index_t j) { return factors((3 * i + 5 * j) % 23 + 1); });
    for (index_t tokens : {1, 3, 8, 9, 70}) check(w, tokens);
  }
}

TEST(GpuFactored, MultipliesWithSkeletons) {
  for (Codec codec : tests::term_codecs()) {
    const RandomFactors w(130, 67, 64, codec,
                          [](index_t i, index_t j) { return interpolative((31 * i + 15 * j) % 47); });
    for (index_t tokens : {1, 5, 13}) check(w, tokens);
  }
}

TEST(GpuFactored, MixesTilesOfAllKindsAndEmptyOnes) {
  const auto form_of = [](index_t i, index_t j) {
    if (i == 1) return i + j == 3 ? interpolative(0) : factors(0);  // a tile row of no rank
    if (j == 2) return factors(0);                                  // a tile column of no rank
    return (i + j) % 3 == 0 ? dense : (i + j) % 3 == 1 ? factors(5 * i + j) : interpolative(9 * i + j + 30);
  };
  for (Codec codec : tests::term_codecs()) {
    const RandomFactors w(200, 330, 64, codec, form_of);
    for (index_t tokens : {1, 2, 33}) check(w, tokens);
  }
}

TEST(GpuFactored, MultipliesRowsThatAreWholeLoads) {
  for (Codec codec : tests::term_codecs()) {
    const RandomFactors w(130, 192, 64, codec, [](index_t i, index_t j) {
      return (i + j) % 3 == 0 ? dense : (i + j) % 3 == 1 ? factors(16 * (i + 1)) : interpolative(16);
    });
    cuda::FactoredPlanLists shares;
    std::memcpy(&shares, DeviceFactors(w).view().plan->shares(), sizeof(shares));
    EXPECT_TRUE(shares.tiles.is_aligned);
    for (index_t tokens : {1, 3}) check(w, tokens);
  }
}

TEST(GpuFactored, TakesDenseTilesAlone) {
  for (Codec codec : tests::term_codecs()) {
    for (index_t tile : {40, 64}) {  // of blocks of 32 some tiles begin and end within one
      const RandomFactors w(70, 150, tile, codec, [](index_t, index_t) { return dense; });
      for (index_t tokens : {1, 5, 40}) check(w, tokens);
    }
  }
}

TEST(GpuFactored, TakesTheWholeMatrixAsOneTile) {
  for (Form form : {factors(250), interpolative(250), dense}) {
    const RandomFactors w(270, 1300, 2000, DType::bf16, [&](index_t, index_t) { return form; });
    for (index_t tokens : {1, 2, 11}) check(w, tokens);
  }
}

/// y of some tokens, twice.
std::pair<std::vector<float>, std::vector<float>> two_runs(const RandomFactors& w, index_t tokens) {
  const DeviceFactors on_device(w);
  const DeviceMatrix<> x(random_floats(tokens * w.view.cols, 4), tokens, w.view.cols);
  Queue<G> queue(1);
  const auto run = [&] {
    DeviceMatrix<> y(tokens, w.view.rows);
    factored_linear<G>(queue, x.in(), on_device.view(), y.view());
    queue.wait();
    return y.host();
  };
  tests::set_thread_order(1);
  std::vector<float> first = run();
  tests::set_thread_order(2);
  return {std::move(first), run()};
}

cuda::FactoredPlanLists shares_of(const RandomFactors& w) {
  const DeviceFactors on_device(w);  // addresses are of no use then
  cuda::FactoredPlanLists shares;
  std::memcpy(&shares, on_device.view().plan->shares(), sizeof(shares));
  return shares;
}

/// Pieces of the first tile row, the longest: tiles are of rank 32 at most, each one that is not stacked is a piece.
index_t pieces_of(const RandomFactors& w) {
  index_t pieces = (w.view.stack_sizes[0] + cuda::FactoredPlanLists::piece - 1) / cuda::FactoredPlanLists::piece;
  for (index_t j = 0; j < w.view.tile_cols(); ++j) {
    pieces += !w.view.tile(0, j).is_stacked && w.view.tile(0, j).size > 0;
  }
  return pieces;
}

TEST(GpuFactored, SplitsRankSpaceWhereRowsAreFew) {
  const auto form_of = [](index_t i, index_t j) {
    if (i == 1) return j == 1 ? factors(3) : factors(0);  // fewer pieces than splits
    return j % 3 == 0 ? interpolative(11 * j % 29 + 1) : j % 3 == 1 ? factors((2 * j + 1) % 32) : dense;
  };
  // Two whole tile rows, of which one is nearly empty, and a clipped one; five rows, of more splits than pieces, whose
  // z fills several panels.
  for (const auto& [rows, cols] : {std::pair<index_t, index_t>{73, 610}, {5, 3210}}) {
    for (Codec codec : tests::term_codecs()) {
      const RandomFactors w(rows, cols, 32, codec, form_of);
      const cuda::FactoredPlanLists shares = shares_of(w);
      EXPECT_EQ(shares.few_count, rows == 73 ? 4 + 4 + 2 : 1);
      const index_t wanted = (cuda::multiprocessors() + shares.few_count - 1) / shares.few_count;
      EXPECT_EQ(shares.splits, std::min(wanted, pieces_of(w)));
      EXPECT_GT(shares.splits, 1);
      EXPECT_EQ(shares.split_count, shares.splits * shares.few_count);
      for (index_t tokens : {1, 2, 7, 8}) {
        check(w, tokens);
        const auto [first, second] = two_runs(w, tokens);
        EXPECT_EQ(first, second);
      }
    }
  }
}

index_t projection_splits_of(const cuda::FactoredPlanLists& shares) {
  return cuda::splits_of(shares.projection_count, shares.projection_splits, shares.multiprocessors);
}

TEST(GpuFactored, SplitsColumnsWhereTilesAreFew) {
  // Tiles of four groups of columns, the last one's being clipped, and a last tile with fewer than there are splits.
  const auto form_of = [](index_t i, index_t j) {
    if (i == 1) return j == 0 ? factors(70) : factors(0);
    return j == 0 ? interpolative(19) : j == 1 ? dense : factors(9);
  };
  for (Codec codec : tests::term_codecs()) {
    const RandomFactors w(330, 430, 210, codec, form_of);
    const cuda::FactoredPlanLists shares = shares_of(w);
    EXPECT_EQ(shares.projection_splits, 4);
    EXPECT_EQ(projection_splits_of(shares), std::min<index_t>(4, (cuda::multiprocessors() + 4) / 5));
    for (index_t tokens : {1, 2, 7, 8}) {
      check(w, tokens);
      const auto [first, second] = two_runs(w, tokens);
      EXPECT_EQ(first, second);
    }
  }
  // Splits of more columns than stand in shared memory at once.
  const RandomFactors wide(650, 2150, 2150, DType::bf16, [](index_t, index_t) { return factors(640); });
  for (index_t tokens : {1, 3}) check(wide, tokens);
}

TEST(GpuFactored, DoesNotSplitColumnsWhereTilesFillTheDevice) {
  const index_t cols = 70 * cuda::multiprocessors();
  const cuda::FactoredPlanLists shares =
      shares_of(RandomFactors(4, cols, 70, DType::f32, [](index_t, index_t) { return factors(1); }));
  EXPECT_EQ(shares.projection_splits, 2);
  EXPECT_EQ(projection_splits_of(shares), 1);
}

TEST(GpuFactored, DoesNotSplitWhereRowsFillTheDevice) {
  const index_t rows = 8 * cuda::multiprocessors();
  const cuda::FactoredPlanLists shares =
      shares_of(RandomFactors(rows, 96, 32, DType::f32, [](index_t, index_t) { return interpolative(20); }));
  EXPECT_EQ(shares.splits, 1);
  EXPECT_EQ(shares.split_count, 0);
}

TEST(GpuFactored, GivesZerosWhereThereIsNothing) {
  const RandomFactors no_rank(40, 30, 16, DType::f32, [](index_t, index_t) { return factors(0); });
  const RandomFactors no_cols(5, 0, 16, DType::f32, [](index_t, index_t) { return factors(1); });
  const RandomFactors no_rows(0, 5, 16, DType::f32, [](index_t, index_t) { return factors(1); });
  for (index_t tokens : {0, 1, 20}) {
    check(no_rank, tokens);
    check(no_cols, tokens);
    check(no_rows, tokens);
  }
}

TEST(GpuFactored, AddsUpThePlanesOfAMatrix) {
  const index_t rows = 150, cols = 130;
  const RandomFactors first(rows, cols, 64, Codec::int8, tests::every_form);
  const RandomFactors second(
      rows, cols, 64, Codec::bf16, [](index_t i, index_t j) { return factors(i == j ? 0 : 7 + i); }, 40);
  const RandomFactors whole(
      rows, cols, 1000, Codec::f32, [](index_t, index_t) { return factors(5); }, 60);
  const DeviceFactors one(first), two(second), three(whole);
  const std::vector<FactoredView<G>> planes = {one.view(), two.view(), three.view()};
  for (index_t tokens : {1, 5, 40}) {
    const std::vector<float> x = random_floats(tokens * cols, 4);
    const DeviceMatrix<> x_on_device(x, tokens, cols);
    DeviceMatrix<> y(tokens, rows);
    Queue<G> queue(1);
    factored_sum<G>(queue, x_on_device.in(), planes, y.view());
    const std::vector<float> actual = y.host();
    for (index_t t = 0; t < tokens; ++t) {
      for (index_t i = 0; i < rows; ++i) {
        double sum = 0, size = 0;
        for (const RandomFactors* plane : {&first, &second, &whole}) {
          for (index_t j = 0; j < cols; ++j) {
            sum += double{x[t * cols + j]} * plane->matrix[i * cols + j];
            size += std::fabs(double{x[t * cols + j]}) * plane->sizes[i * cols + j];
          }
        }
        ASSERT_NEAR(actual[t * rows + i], sum, (1000 * tests::eps + 0x1p-15) * size) << t << ", " << i;
      }
    }
  }
}

}  // namespace
}  // namespace hack::kernels
