// Refinement of an MLP's factors on the device, against the CPU's.

#include <gtest/gtest.h>

#include "comm/communicator.hpp"
#include "svd/refine/mlp_refiner.hpp"
#include "svd/refine/refinable_factors.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::svd {
namespace {

using tests::random_floats;

constexpr index_t hidden = 33, intermediate = 45, tokens = 70;

/// A matrix whose tiles are random factors, one of them kept dense and one of rank 0.
struct Random {
  TileGrid grid;
  std::vector<TileChoice> choices;
  std::vector<TruncatedTile> tiles;
  std::vector<float> values;

  Random(index_t rows, index_t cols, unsigned seed)
      : grid(rows, cols, 16, 16), values(random_floats(rows * cols, seed)) {
    for (float& x : values) x *= 0.2f;
    for (index_t t = 0; t < grid.size(); ++t) {
      const Tile tile = grid.tile(t);
      const bool is_trained = t != 1 && t != 2;
      const index_t k = is_trained ? std::min<index_t>(1 + t % 5, tile.full_rank()) : 0;
      TruncatedTile factors{k, Buffer<float>(tile.height * k), Buffer<float>(k), Buffer<float>(k * tile.width)};
      const auto fill = [&](Buffer<float>& to, float size) {
        const std::vector<float> from = random_floats(to.size(), seed + 100 + static_cast<unsigned>(t));
        for (index_t i = 0; i < to.size(); ++i) to.data()[i] = size * from[static_cast<std::size_t>(i)];
      };
      fill(factors.u, 0.5f);
      fill(factors.vt, 0.5f);
      for (index_t l = 0; l < k; ++l) factors.sigma.data()[l] = 1.0f / static_cast<float>(l + 1);
      tiles.push_back(std::move(factors));
      choices.push_back(t == 1 ? TileChoice{kernels::Structure::dense, static_cast<std::int32_t>(tile.full_rank())}
                               : TileChoice{kernels::Structure::low_rank, static_cast<std::int32_t>(k)});
    }
  }
  FactoredTiles source() const { return {"a matrix", grid, choices, tiles, {values.data(), grid.rows(), grid.cols()}}; }
};

template <Device D>
std::pair<RefineReport, std::vector<float>> refine(const std::vector<float>& weights) {
  const Random gate(intermediate, hidden, 1), up(intermediate, hidden, 2), down(hidden, intermediate, 3);
  const std::vector<float> inputs = random_floats(tokens * hidden, 4), targets = random_floats(tokens * hidden, 5);
  RefinableFactors<D> trained[] = {RefinableFactors<D>(gate.source()), RefinableFactors<D>(up.source()),
                                   RefinableFactors<D>(down.source())};
  MlpRefiner<D> refiner(trained[0], trained[1], trained[2], {.steps = 6, .rate = 0.01, .batch = 21});
  Queue<D> queue(2);
  const comm::Communicator world = comm::Communicator::world();
  const RefineReport report =
      refiner.refine(world, queue, {inputs.data(), tokens, hidden}, {targets.data(), tokens, hidden}, weights);
  std::vector<float> spectra;
  for (const RefinableFactors<D>& matrix : trained) {
    const index_t tiles = TileGrid(matrix.rows(), matrix.cols(), 16, 16).size();
    for (const TruncatedTile& tile : matrix.factors(queue, {0, tiles})) {
      spectra.insert(spectra.end(), tile.sigma.data(), tile.sigma.data() + tile.sigma.size());
    }
  }
  return {report, spectra};
}

TEST(GpuRefiner, RefinesAsTheCpuDoes) {
  for (const std::vector<float>& weights : {std::vector<float>(), std::vector<float>(tokens, 0.5f)}) {
    const auto [expected, expected_spectra] = refine<Device::cpu>(weights);
    const auto [actual, actual_spectra] = refine<Device::cuda>(weights);
    EXPECT_LT(actual.loss_after, actual.loss_before);
    EXPECT_EQ(actual.best_step, expected.best_step);
    EXPECT_NEAR(actual.loss_before, expected.loss_before, 1e-5 * expected.loss_before);
    // Adam divides by the root of small squares: roundings of gradients grow to some 1e-3 of a step of 0.01.
    EXPECT_NEAR(actual.loss_after, expected.loss_after, 1e-4 * expected.loss_after);
    ASSERT_EQ(actual_spectra.size(), expected_spectra.size());
    for (std::size_t i = 0; i < actual_spectra.size(); ++i) ASSERT_NEAR(actual_spectra[i], expected_spectra[i], 1e-4);
  }
}

}  // namespace
}  // namespace hack::svd
