// What all ranks do together for one matrix, against one rank alone.

#include "svd/pipeline/layer_factors.hpp"

#include <gtest/gtest.h>

#include "svd/fit/input_sums.hpp"
#include "svd/fit/propagated_target.hpp"
#include "tests/svd/weighted_problem.hpp"

namespace hack::svd {
namespace {

using testing_support::Dense;
using testing_support::Problem;

TiledMatrix tiled(const Problem& problem) {
  TiledMatrix matrix{"w",
                     problem.grid,
                     Buffer<float>(problem.grid.rows() * problem.grid.cols()),
                     testing_support::mixed_choices(problem),
                     {}};
  std::copy(problem.w.begin(), problem.w.end(), matrix.values.data());
  return matrix;
}

TEST(LayerFactors, AreTheSameHoweverManyRanksMakeThem) {
  const Problem problem(TileGrid(41, 30, 8, 7));
  const auto world = comm::Communicator::world();
  Queue<Device::cpu> queue(2);
  const WeightedFactorizer factorizer(queue, problem.h.view(), problem.grid, {});
  TiledMatrix matrix = tiled(problem);
  factorize_together(world, queue, factorizer, matrix);
  const std::vector<TruncatedTile> alone =
      factorizer.factorize(queue, problem.grid, problem.all_rows(), matrix.choices);
  EXPECT_EQ(testing_support::numbers_of(matrix.tiles), testing_support::numbers_of(alone));
  EXPECT_EQ(spectra_together(world, queue, factorizer, matrix),
            factorizer.spectra(queue, problem.grid, problem.all_rows()));

  const Dense expected = testing_support::rebuild(problem, matrix.choices, alone);
  const Buffer<float> rebuilt = rebuild(queue, matrix);
  for (index_t i = 0; i < rebuilt.size(); ++i) {
    ASSERT_NEAR(rebuilt.data()[i], expected.numbers[static_cast<std::size_t>(i)], 1e-5);
  }
}

/// Inputs of the dense model and of one whose earlier layers are off, shared out to ranks token by token.
struct TwoInputs {
  static constexpr index_t tokens = 90, n = 12;
  Dense dense{tokens, n}, met{tokens, n};

  TwoInputs() {
    std::mt19937 random(3);
    std::normal_distribution<double> normal;
    for (index_t i = 0; i < tokens * n; ++i) {
      dense.numbers[static_cast<std::size_t>(i)] = static_cast<float>(normal(random));
      met.numbers[static_cast<std::size_t>(i)] =
          static_cast<float>(0.8 * dense.numbers[static_cast<std::size_t>(i)] + 0.3 * normal(random));
    }
  }

  /// With X; or with Y of the matrix `wide`, where there is one.
  InputStatistics statistics(const comm::Communicator& comm, const Dense* wide = nullptr) const {
    const Dense reached = wide == nullptr ? dense : dense * testing_support::transposed(*wide);
    const index_t m = reached.cols;
    Queue<Device::cpu> queue(2);
    InputSums<Device::cpu> sums(queue, n, wide == nullptr ? Cross::inputs : Cross::outputs, m);
    for (index_t t = comm.rank(); t < tokens; t += comm.size()) {
      std::vector<float> x, y;
      for (index_t i = 0; i < n; ++i) {
        x.push_back(static_cast<float>(met(t, i)));
      }
      for (index_t i = 0; i < m; ++i) y.push_back(static_cast<float>(reached(t, i)));
      sums.add({x.data(), 1, n}, {y.data(), 1, m});
    }
    return sums.finish(comm);
  }
};

TEST(InputSums, AddUpOverAllRanks) {
  const TwoInputs inputs;
  const InputStatistics statistics = inputs.statistics(comm::Communicator::world());
  const Dense h = testing_support::transposed(inputs.met) * inputs.met;
  const Dense x = testing_support::transposed(inputs.dense) * inputs.met;
  for (index_t i = 0; i < h.rows; ++i) {
    for (index_t j = 0; j < h.cols; ++j) {
      EXPECT_NEAR(statistics.h()(i, j), h(i, j), 1e-4);
      EXPECT_NEAR(statistics.cross()(i, j), x(i, j), 1e-4);
    }
  }
}

TEST(PropagatedTarget, IsTheLeastSquaresSolutionAtFullShare) {
  const TwoInputs inputs;
  constexpr index_t m = 70;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> w(m * TwoInputs::n);
  for (float& number : w) number = normal(random);
  Dense wide(m, TwoInputs::n);
  std::copy(w.begin(), w.end(), wide.numbers.begin());

  // T Hᵀ = W X, damped by next to nothing.
  const Dense h = testing_support::transposed(inputs.met) * inputs.met;
  const Dense x = testing_support::transposed(inputs.dense) * inputs.met;
  const Dense solved = testing_support::transposed(testing_support::solve(h, testing_support::transposed(wide * x)));
  Queue<Device::cpu> queue(3);
  const auto world = comm::Communicator::world();
  const InputStatistics both[] = {inputs.statistics(world), inputs.statistics(world, &wide)};
  for (const InputStatistics& statistics : both) {
    for (const double share : {0.0, 0.5, 1.0}) {
      std::vector<float> target(w.size());
      const PropagatedTarget propagated(queue, statistics, 1e-6, share);
      const index_t first = 23;  // two calls, as two ranks would make them
      propagated.apply(queue, {w.data(), first, TwoInputs::n}, 0, {target.data(), first, TwoInputs::n});
      const index_t behind = first * TwoInputs::n;
      propagated.apply(queue, {w.data() + behind, m - first, TwoInputs::n}, first,
                       {target.data() + behind, m - first, TwoInputs::n});
      for (std::size_t i = 0; i < w.size(); ++i) {
        EXPECT_NEAR(target[i], (1 - share) * wide.numbers[i] + share * solved.numbers[i], 2e-4);
      }
    }
  }
}

}  // namespace
}  // namespace hack::svd
