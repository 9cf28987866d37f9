// Activation-aware factors of single matrices on the device, against the CPU's.

#include <gtest/gtest.h>

#include "svd/fit/input_sums.hpp"
#include "svd/fit/propagated_target.hpp"
#include "svd/fit/weighted_error.hpp"
#include "svd/fit/weighted_factorizer.hpp"
#include "tests/svd/weighted_problem.hpp"

namespace hack::svd {
namespace {

using namespace testing_support;

template <Device D>
std::vector<TruncatedTile> factors_of(const Problem& problem, const std::vector<TileChoice>& choices,
                                      const WeightingOptions& options) {
  Queue<D> queue(2);
  const WeightedFactorizer<D> factorizer(queue, problem.h.view(), problem.grid, options);
  return factorizer.factorize(queue, problem.grid, problem.all_rows(), choices);
}

/// Tiles are factorized in f32, whose errors in right factors grow by the condition of the damped H, some hundreds,
/// in its root.
constexpr double bound = 1e-4;

TEST(GpuWeightedFactors, AreThoseOfTheCpu) {
  // Edge tiles in both directions, tiles that are dense, of rank 0, and of all ranks between.
  const Problem problem(TileGrid(45, 61, 16, 24));
  const std::vector<TileChoice> choices = mixed_choices(problem);
  for (const WeightingOptions& options : {WeightingOptions{.sweeps = 0, .refit = false}, WeightingOptions{.sweeps = 0},
                                          WeightingOptions{.sweeps = 2, .refit = false}, WeightingOptions{.sweeps = 2},
                                          WeightingOptions{.sweeps = 1, .rounding = DType::bf16}}) {
    const std::vector<TruncatedTile> expected = factors_of<Device::cpu>(problem, choices, options);
    const std::vector<TruncatedTile> actual = factors_of<Device::cuda>(problem, choices, options);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t t = 0; t < actual.size(); ++t) EXPECT_EQ(actual[t].rank, expected[t].rank);
    const Dense here = rebuild(problem, choices, actual), there = rebuild(problem, choices, expected);
    // Where right factors are rounded, one that is rounded the other way is off by 2⁻⁸; losses stay.
    EXPECT_LE(largest(difference(here, there)), options.rounding ? 0.03 : bound);
    const auto loss_of = [&](const Dense& rebuilt) {
      return trace_of_square(difference(problem.matrix(), rebuilt), problem.damped(options.damping));
    };
    EXPECT_NEAR(loss_of(here), loss_of(there), (options.rounding ? 1e-2 : bound) * loss_of(there));
  }
}

TEST(GpuWeightedFactors, OfWholeMatricesAreThoseOfTheCpu) {
  const Problem problem(TileGrid(30, 41, 30, 41));
  const std::vector<TileChoice> choices = problem.uniform(9);
  EXPECT_LE(largest(difference(rebuild(problem, choices, factors_of<Device::cuda>(problem, choices, {})),
                               rebuild(problem, choices, factors_of<Device::cpu>(problem, choices, {})))),
            bound);
}

TEST(GpuWeightedFactors, KeepRowsOfDenseTiles) {
  const Problem problem(TileGrid(32, 48, 16, 16));
  const std::vector<TileChoice> choices(6, {kernels::Structure::dense, 16, 0, 0});
  for (const TruncatedTile& tile : factors_of<Device::cuda>(problem, choices, {})) EXPECT_EQ(tile.rank, 0);
}

TEST(GpuWeightedFactors, HaveTheSpectraOfTheCpu) {
  for (const TileGrid& grid : {TileGrid(45, 61, 16, 24), TileGrid(45, 61, 24, 16)}) {
    const Problem problem(grid);
    Queue<Device::cpu> host(2);
    Queue<Device::cuda> gpu(2);
    const std::vector<float> expected =
        WeightedFactorizer(host, problem.h.view(), grid, {}).spectra(host, grid, problem.all_rows());
    const std::vector<float> actual =
        WeightedFactorizer(gpu, problem.h.view(), grid, {}).spectra(gpu, grid, problem.all_rows());
    ASSERT_EQ(actual.size(), expected.size());
    const float largest_value = *std::max_element(expected.begin(), expected.end());
    for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-6f * largest_value);
  }
}

TEST(GpuWeightedFactors, CostWhatTheCpuSays) {
  const Problem problem(TileGrid(131, 37, 16, 16));
  Problem other = problem;
  for (float& number : other.w) number += 0.01f;
  Queue<Device::cpu> host(2);
  Queue<Device::cuda> gpu(2);
  const Buffer<double, Device::cuda> h = to_device<Device::cuda>(problem.h.numbers.data(), 37 * 37);
  const MatrixView<const double, Device::cuda> there(h.data(), 37, 37);
  const double energy = weighted_energy<Device::cpu>(host, problem.values(), problem.h.view());
  EXPECT_NEAR(weighted_energy<Device::cuda>(gpu, problem.values(), there), energy, 1e-12 * energy);
  const double error = weighted_error<Device::cpu>(host, problem.values(), other.values(), problem.h.view());
  EXPECT_NEAR(weighted_error<Device::cuda>(gpu, problem.values(), other.values(), there), error, 1e-10 * error);
}

/// Rows of T from two calls, as two ranks would make them.
template <Device D>
std::vector<float> target_of(const Problem& problem, const InputStatistics& statistics) {
  Queue<D> queue(2);
  const PropagatedTarget<D> propagated(queue, statistics, 0.01, 0.5);
  std::vector<float> target(problem.w.size());
  const index_t n = problem.grid.cols(), first = 23, rest = problem.grid.rows() - first;
  propagated.apply(queue, {problem.w.data(), first, n}, 0, {target.data(), first, n});
  propagated.apply(queue, {problem.w.data() + first * n, rest, n}, first, {target.data() + first * n, rest, n});
  return target;
}

TEST(GpuPropagatedTarget, IsThatOfTheCpu) {
  constexpr index_t m = 90, n = 31;
  const Problem problem(TileGrid(m, n, 16, 16));
  for (const Cross kind : {Cross::inputs, Cross::outputs}) {
    const index_t rows = kind == Cross::inputs ? n : m;
    Buffer<double> h(n * n), cross(rows * n);
    std::copy_n(problem.h.numbers.data(), h.size(), h.data());
    std::mt19937 random(1);
    std::normal_distribution<double> normal;
    for (index_t i = 0; i < cross.size(); ++i) cross.data()[i] = 100 * normal(random);
    const InputStatistics statistics(n, std::move(h), kind, std::move(cross));
    const std::vector<float> expected = target_of<Device::cpu>(problem, statistics);
    const std::vector<float> actual = target_of<Device::cuda>(problem, statistics);
    for (std::size_t i = 0; i < actual.size(); ++i)
      ASSERT_NEAR(actual[i], expected[i], 1e-5 * std::fabs(expected[i]) + 1e-6);
  }
}

TEST(GpuPropagatedTarget, IsTheMatrixWhereNothingWasEverMet) {
  const Problem problem(TileGrid(40, 12, 16, 16));
  Buffer<double> h(12 * 12), cross(12 * 12);
  std::fill_n(h.data(), h.size(), 0.0);
  std::fill_n(cross.data(), cross.size(), 0.0);
  const InputStatistics statistics(12, std::move(h), Cross::inputs, std::move(cross));
  EXPECT_EQ(target_of<Device::cuda>(problem, statistics), problem.w);
  EXPECT_EQ(target_of<Device::cpu>(problem, statistics), problem.w);
}

}  // namespace
}  // namespace hack::svd
