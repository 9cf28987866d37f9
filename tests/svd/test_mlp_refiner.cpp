// Refinement of a small MLP with every kind of tile, against a twin with plain loops in double.

#include "svd/refine/mlp_refiner.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "kernels/tile_svd.hpp"
#include "svd/refine/refinable_factors.hpp"

namespace hack::svd {
namespace {

using comm::Communicator;
using kernels::Structure;

constexpr index_t hidden = 13;
constexpr index_t intermediate = 22;
enum class MlpMatrix : std::uint8_t { gate, up, down };
constexpr MlpMatrix matrices[] = {MlpMatrix::gate, MlpMatrix::up, MlpMatrix::down};

std::vector<float> normal_floats(index_t n, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> out(static_cast<std::size_t>(n));
  for (float& x : out) x = normal(random);
  return out;
}

/// A random matrix cut into tiles of which each seventh has the same kind: rank 0, low ranks, full rank, dense with
/// its values, dense of low rank, interpolative.
struct Matrix {
  TileGrid grid;
  std::vector<float> values;  // (m, n)
  std::vector<TileChoice> choices;
  std::vector<TruncatedTile> tiles;

  Matrix(index_t rows, index_t cols, unsigned seed)
      : grid(rows, cols, 6, 5), values(normal_floats(rows * cols, seed, 0.4f)) {
    Queue<Device::cpu> queue(1);
    for (index_t t = 0; t < grid.size(); ++t) {
      const index_t r = grid.tile(t).full_rank();
      const TileChoice kinds[] = {{Structure::low_rank, 0},
                                  {Structure::low_rank, 1},
                                  {Structure::low_rank, static_cast<std::int32_t>(std::min<index_t>(r, 3))},
                                  {Structure::low_rank, static_cast<std::int32_t>(r)},
                                  {Structure::dense, static_cast<std::int32_t>(r)},
                                  {Structure::dense, static_cast<std::int32_t>(r - 1)},
                                  {Structure::interpolative, static_cast<std::int32_t>(std::min<index_t>(r, 2))}};
      choices.push_back(kinds[(t + seed) % 7]);
      tiles.push_back(truncate(queue, t, keeps_values(t) ? 0 : choices.back().rank));
    }
  }

  bool keeps_values(index_t t) const {
    const TileChoice& choice = choices[static_cast<std::size_t>(t)];
    return choice.kind == Structure::dense && choice.rank == grid.tile(t).full_rank();
  }

  TruncatedTile truncate(Queue<Device::cpu>& queue, index_t t, index_t k) const {
    const Tile at = grid.tile(t);
    const index_t r = at.full_rank();
    if (k == 0) return {};
    std::vector<float> u(static_cast<std::size_t>(at.height * r)), sigma(static_cast<std::size_t>(r)),
        vt(static_cast<std::size_t>(r * at.width));
    const MatrixView<const float> in[] = {view().block(at.row, at.col, at.height, at.width)};
    kernels::TileSvd<Device::cpu> out[] = {
        {{u.data(), at.height, r}, sigma.data(), {vt.data(), r, at.width}, kernels::SvdStatus::ok}};
    kernels::tile_svd<Device::cpu>(queue, in, out);
    TruncatedTile tile{k, Buffer<float>(at.height * k), Buffer<float>(k), Buffer<float>(k * at.width)};
    for (index_t i = 0; i < at.height; ++i) std::copy_n(u.data() + i * r, k, tile.u.data() + i * k);
    std::copy_n(sigma.data(), k, tile.sigma.data());
    std::copy_n(vt.data(), k * at.width, tile.vt.data());
    return tile;
  }

  MatrixView<const float> view() const { return {values.data(), grid.rows(), grid.cols()}; }
  FactoredTiles source() const { return {"w", grid, choices, tiles, view()}; }
};

struct Mlp {
  Matrix gate{intermediate, hidden, 1};
  Matrix up{intermediate, hidden, 2};
  Matrix down{hidden, intermediate, 3};

  const Matrix& operator[](MlpMatrix which) const {
    return which == MlpMatrix::gate ? gate : which == MlpMatrix::up ? up : down;
  }
};

/// The matrices as they are trained, by a MlpGradient or a MlpRefiner.
template <class T>
struct Trained {
  RefinableFactors<Device::cpu> gate, up, down;
  T trainer;

  template <class... Options>
  explicit Trained(const Mlp& mlp, const Options&... options)
      : gate(mlp.gate.source()), up(mlp.up.source()), down(mlp.down.source()), trainer(gate, up, down, options...) {}

  std::vector<TruncatedTile> factors(Queue<Device::cpu>& queue, MlpMatrix which, Range tiles) {
    RefinableFactors<Device::cpu>& matrix = which == MlpMatrix::gate ? gate : which == MlpMatrix::up ? up : down;
    matrix.rebuild(queue);
    return matrix.factors(queue, tiles);
  }
};
using Refiner = Trained<MlpRefiner<Device::cpu>>;
using Gradient = Trained<MlpGradient<Device::cpu>>;

using Wide = std::vector<double>;

/// The matrix (m, n) in double; `parameters` starts with its factors and is moved past them.
Wide rebuild(const Matrix& matrix, const double*& parameters) {
  const TileGrid& grid = matrix.grid;
  Wide w(matrix.values.size());
  for (index_t t = 0; t < grid.size(); ++t) {
    const Tile at = grid.tile(t);
    const index_t k = matrix.tiles[static_cast<std::size_t>(t)].rank;
    for (index_t i = 0; i < at.height; ++i) {
      for (index_t j = 0; j < at.width; ++j) {
        double& number = w[static_cast<std::size_t>((at.row + i) * grid.cols() + at.col + j)];
        if (matrix.keeps_values(t)) number = matrix.view()(at.row + i, at.col + j);
        for (index_t p = 0; p < k; ++p) {
          number += parameters[i * k + p] * parameters[at.height * k + p * at.width + j];
        }
      }
    }
    parameters += k * (at.height + at.width);
  }
  return w;
}

/// y = W x; w (m, n).
Wide times(const Wide& w, const Wide& x) {
  Wide y(w.size() / x.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    for (std::size_t j = 0; j < x.size(); ++j) y[i] += w[i * x.size() + j] * x[j];
  }
  return y;
}

/// f(x) of one token.
Wide mlp_output(const Wide& gate, const Wide& up, const Wide& down, const float* x) {
  const Wide in(x, x + hidden);
  Wide a = times(gate, in);
  const Wide b = times(up, in);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = a[i] / (1 + std::exp(-a[i])) * b[i];
  return times(down, a);
}

/// Σ ‖f(x) - target‖², the twin.
double twin_error(const Mlp& mlp, const Wide& parameters, const std::vector<float>& inputs,
                  const std::vector<float>& targets) {
  const double* at = parameters.data();
  const Wide gate = rebuild(mlp.gate, at);
  const Wide up = rebuild(mlp.up, at);
  const Wide down = rebuild(mlp.down, at);
  EXPECT_EQ(at, parameters.data() + parameters.size());
  double sum = 0;
  for (std::size_t first = 0; first < inputs.size(); first += hidden) {
    const Wide y = mlp_output(gate, up, down, inputs.data() + first);
    for (index_t i = 0; i < hidden; ++i) sum += std::pow(y[i] - targets[first + i], 2);
  }
  return sum;
}

/// Tokens and what the original matrices make of them.
struct Samples {
  std::vector<float> inputs;   // (tokens, hidden)
  std::vector<float> targets;  // (tokens, hidden)

  Samples(const Mlp& mlp, index_t tokens) : inputs(normal_floats(tokens * hidden, 5)) {
    const auto wide = [](const Matrix& matrix) { return Wide(matrix.values.begin(), matrix.values.end()); };
    for (index_t t = 0; t < tokens; ++t) {
      const Wide y = mlp_output(wide(mlp.gate), wide(mlp.up), wide(mlp.down), inputs.data() + t * hidden);
      targets.insert(targets.end(), y.begin(), y.end());
    }
  }

  index_t size() const { return std::ssize(inputs) / hidden; }
  static MatrixView<const float> part(const std::vector<float>& x, Range rows) {
    return {x.data() + rows.begin * hidden, rows.size(), hidden};
  }
};

/// Uneven shares; of more than two ranks the second has none.
Range rows_of(const Communicator& comm, index_t tokens) {
  const auto weight = [&](int p) { return p == 1 && comm.size() > 2 ? 0 : p + 1; };
  index_t before = 0, all = 0;
  for (int p = 0; p < comm.size(); ++p) {
    before += p < comm.rank() ? weight(p) : 0;
    all += weight(p);
  }
  return {tokens * before / all, tokens * (before + weight(comm.rank())) / all};
}

RefineReport refine(Refiner& refiner, const Communicator& comm, const Samples& samples, int threads = 1,
                    std::span<const float> weights = {}) {
  Queue<Device::cpu> queue(threads);
  const Range rows = rows_of(comm, samples.size());
  if (!weights.empty()) {
    weights = weights.subspan(static_cast<std::size_t>(rows.begin), static_cast<std::size_t>(rows.size()));
  }
  return refiner.trainer.refine(comm, queue, Samples::part(samples.inputs, rows), Samples::part(samples.targets, rows),
                                weights);
}

/// All numbers of all factors.
std::vector<float> numbers_of(Refiner& refiner, const Mlp& mlp) {
  Queue<Device::cpu> queue(1);
  std::vector<float> out;
  for (const MlpMatrix which : matrices) {
    for (const TruncatedTile& tile : refiner.factors(queue, which, {0, mlp[which].grid.size()})) {
      for (const Buffer<float>* part : {&tile.u, &tile.sigma, &tile.vt}) {
        out.insert(out.end(), part->data(), part->data() + part->size());
      }
    }
  }
  return out;
}

/// U diag(sigma) Vᵀ of the tiles, the original where tiles keep it.
Wide dense(const Matrix& matrix, const std::vector<TruncatedTile>& tiles) {
  Wide w(matrix.values.size());
  for (index_t t = 0; t < matrix.grid.size(); ++t) {
    const Tile at = matrix.grid.tile(t);
    const TruncatedTile& tile = tiles[static_cast<std::size_t>(t)];
    for (index_t i = 0; i < at.height; ++i) {
      for (index_t j = 0; j < at.width; ++j) {
        double& number = w[static_cast<std::size_t>((at.row + i) * matrix.grid.cols() + at.col + j)];
        if (matrix.keeps_values(t)) number = matrix.view()(at.row + i, at.col + j);
        for (index_t p = 0; p < tile.rank; ++p) {
          number += static_cast<double>(tile.u.data()[i * tile.rank + p]) * tile.sigma.data()[p] *
                    tile.vt.data()[p * at.width + j];
        }
      }
    }
  }
  return w;
}

double largest_difference(const Wide& a, const Wide& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::fabs(a[i] - b[i]));
  return largest;
}

/// Σ ‖f(x) - y‖² / Σ ‖y‖² of what the refiner returns.
double relative_error(Refiner& refiner, const Mlp& mlp, const Samples& samples) {
  Queue<Device::cpu> queue(1);
  std::vector<Wide> w;
  for (const MlpMatrix which : matrices) {
    w.push_back(dense(mlp[which], refiner.factors(queue, which, {0, mlp[which].grid.size()})));
  }
  double error = 0, energy = 0;
  for (index_t t = 0; t < samples.size(); ++t) {
    const Wide y = mlp_output(w[0], w[1], w[2], samples.inputs.data() + t * hidden);
    for (index_t i = 0; i < hidden; ++i) {
      const double target = samples.targets[static_cast<std::size_t>(t * hidden + i)];
      error += std::pow(y[static_cast<std::size_t>(i)] - target, 2);
      energy += target * target;
    }
  }
  return error / energy;
}

constexpr RefineOptions short_run{.steps = 45, .rate = 0.01, .batch = 40, .seed = 3};

TEST(MlpGradient, EqualsFiniteDifferencesInDouble) {
  const Mlp mlp;
  Samples samples(mlp, 9);
  for (float& target : samples.targets) target = 0.7f * target + 0.1f;  // errors of all sizes
  Gradient trained(mlp, index_t{11});
  MlpGradient<Device::cpu>& gradient = trained.trainer;
  const double factor = 0.3;
  std::vector<float> first;
  for (int threads : {1, 2}) {
    if (threads > 1 && Communicator::world().size() > 1) continue;
    Queue<Device::cpu> queue(threads);
    gradient.rebuild(queue);
    Wide parameters(gradient.parameters().begin(), gradient.parameters().end());
    const double error = twin_error(mlp, parameters, samples.inputs, samples.targets);
    const auto inputs = Samples::part(samples.inputs, {0, 9});
    const auto targets = Samples::part(samples.targets, {0, 9});
    // Sums of up to 22 products in a row of three layers: some 100 roundings.
    EXPECT_NEAR(gradient.differentiate(queue, inputs, targets, factor), error, 1e-5 * error);
    const std::vector<float> found(gradient.gradients().begin(), gradient.gradients().end());
    EXPECT_NEAR(gradient.squared_error(queue, inputs, targets), error, 1e-5 * error);
    const std::vector<float> doubled(9, 2.0f);
    EXPECT_NEAR(gradient.squared_error(queue, inputs, targets, doubled.data()), 2 * error, 2e-5 * error);
    float scale = 0;
    for (const float number : found) scale = std::max(scale, std::fabs(number));
    for (std::size_t i = 0; i < parameters.size() && threads == 1; ++i) {
      const double at = parameters[i];
      const double step = 1e-4;  // the differences are good to 1e-8 and, of errors of some 100, 1e-10 of rounding
      parameters[i] = at + step;
      const double above = twin_error(mlp, parameters, samples.inputs, samples.targets);
      parameters[i] = at - step;
      const double below = twin_error(mlp, parameters, samples.inputs, samples.targets);
      parameters[i] = at;
      ASSERT_NEAR(found[i], factor * (above - below) / (2 * step), 1e-5 * scale) << "parameter " << i;
    }
    if (threads == 1) first = found;
    EXPECT_EQ(found, first);
  }
}

TEST(MlpGradient, IsZeroWithoutTokens) {
  const Mlp mlp;
  Gradient trained(mlp, index_t{1});
  MlpGradient<Device::cpu>& gradient = trained.trainer;
  Queue<Device::cpu> queue(1);
  gradient.rebuild(queue);
  std::ranges::fill(gradient.gradients(), 5.0f);
  const MatrixView<const float> none(nullptr, 0, hidden);
  EXPECT_EQ(gradient.differentiate(queue, none, none, 1), 0);
  for (const float number : gradient.gradients()) ASSERT_EQ(number, 0);
}

TEST(MlpRefiner, LowersTheErrorOfWhatItReturns) {
  const Communicator world = Communicator::world();
  const Mlp mlp;
  const Samples samples(mlp, 120);
  Refiner refiner(mlp, short_run);
  const double before = relative_error(refiner, mlp, samples);
  const RefineReport report = refine(refiner, world, samples);
  // All 120 tokens judge. The returned factors went through an SVD in f32, good to 1e-6 of each tile.
  EXPECT_NEAR(report.loss_before, before, 1e-5 * before);
  EXPECT_NEAR(report.loss_after, relative_error(refiner, mlp, samples), 1e-4 * before);
  EXPECT_LT(report.loss_after, 0.7 * report.loss_before);
  EXPECT_GT(report.best_step, 0);
}

TEST(MlpRefiner, NeverEndsAboveWhereItStarted) {
  const Communicator world = Communicator::world();
  const Mlp mlp;
  const Samples samples(mlp, 60);
  for (const double rate : {10.0, 1e30}) {  // diverges; overflows
    Refiner refiner(mlp, RefineOptions{.steps = 25, .rate = rate, .batch = 16});
    const double before = relative_error(refiner, mlp, samples);
    const RefineReport report = refine(refiner, world, samples);
    EXPECT_EQ(report.loss_after, report.loss_before);
    EXPECT_EQ(report.best_step, 0);
    EXPECT_EQ(relative_error(refiner, mlp, samples), before);
  }
}

TEST(MlpRefiner, ChangesNothingInNoSteps) {
  const Communicator world = Communicator::world();
  const Mlp mlp;
  const Samples samples(mlp, 40);
  Refiner refiner(mlp, RefineOptions{.steps = 0});
  const RefineReport report = refine(refiner, world, samples);
  EXPECT_EQ(report.loss_after, report.loss_before);
  Queue<Device::cpu> queue(1);
  for (const MlpMatrix which : matrices) {
    const Matrix& matrix = mlp[which];
    const std::vector<TruncatedTile> tiles = refiner.factors(queue, which, {0, matrix.grid.size()});
    // Split, multiplied and factorized again: a few roundings of numbers up to 2.
    EXPECT_LE(largest_difference(dense(matrix, tiles), dense(matrix, matrix.tiles)), 1e-5);
  }
}

TEST(MlpRefiner, TakesLayersInWhichNothingIsTrained) {
  const Communicator world = Communicator::world();
  Mlp mlp;
  for (Matrix* matrix : {&mlp.gate, &mlp.up, &mlp.down}) {
    for (index_t t = 0; t < matrix->grid.size(); ++t) {
      const auto r = static_cast<std::int32_t>(matrix->grid.tile(t).full_rank());
      matrix->choices[static_cast<std::size_t>(t)] = {Structure::dense, r};
      matrix->tiles[static_cast<std::size_t>(t)] = {};
    }
  }
  Refiner refiner(mlp, RefineOptions{.steps = 3});
  const RefineReport report = refine(refiner, world, Samples(mlp, 30));
  EXPECT_LE(report.loss_before, 1e-10);  // what f32 makes of the original matrices
  EXPECT_EQ(report.best_step, 0);
}

TEST(MlpRefiner, KeepsRanksAndReturnsOrthonormalFactors) {
  const Communicator world = Communicator::world();
  const Mlp mlp;
  const Samples samples(mlp, 60);
  Refiner refiner(mlp, short_run);
  refine(refiner, world, samples);
  Queue<Device::cpu> queue(1);
  for (const MlpMatrix which : matrices) {
    const Matrix& matrix = mlp[which];
    const std::vector<TruncatedTile> tiles = refiner.factors(queue, which, {0, matrix.grid.size()});
    const std::vector<TruncatedTile> some = refiner.factors(queue, which, {2, 5});
    for (index_t t = 0; t < matrix.grid.size(); ++t) {
      const TruncatedTile& tile = tiles[static_cast<std::size_t>(t)];
      const Tile at = matrix.grid.tile(t);
      const index_t k = tile.rank;
      ASSERT_EQ(k, matrix.tiles[static_cast<std::size_t>(t)].rank);
      ASSERT_TRUE(tile.u.size() == at.height * k && tile.sigma.size() == k && tile.vt.size() == k * at.width);
      if (t >= 2 && t < 5) {
        const TruncatedTile& same = some[static_cast<std::size_t>(t - 2)];
        EXPECT_TRUE(std::equal(tile.u.data(), tile.u.data() + tile.u.size(), same.u.data()));
        EXPECT_TRUE(std::equal(tile.vt.data(), tile.vt.data() + tile.vt.size(), same.vt.data()));
      }
      for (index_t p = 0; p < k; ++p) {
        EXPECT_TRUE(p == 0 || tile.sigma.data()[p] <= tile.sigma.data()[p - 1]);
        for (index_t q = 0; q < k; ++q) {
          double u = 0, v = 0;
          for (index_t i = 0; i < at.height; ++i) u += double{tile.u.data()[i * k + p]} * tile.u.data()[i * k + q];
          for (index_t j = 0; j < at.width; ++j) {
            v += double{tile.vt.data()[p * at.width + j]} * tile.vt.data()[q * at.width + j];
          }
          EXPECT_NEAR(u, p == q ? 1 : 0, 3e-6);
          EXPECT_NEAR(v, p == q ? 1 : 0, 3e-6);
        }
      }
    }
  }
}

TEST(MlpRefiner, AgreesWithOneRankWhereBatchesAreTheSame) {
  const Communicator world = Communicator::world();
  const Mlp mlp;
  const Samples samples(mlp, 50);
  const RefineOptions options{.steps = 30, .rate = 0.01, .batch = 50};  // every token in every step
  Refiner together(mlp, options), alone(mlp, options);
  const RefineReport shared = refine(together, world, samples);
  const RefineReport single = refine(alone, Communicator::self(), samples);
  EXPECT_NEAR(shared.loss_before, single.loss_before, 1e-6 * single.loss_before);
  // Gradients differ by rounding, and Adam takes equal steps in directions of large and of tiny gradients: where a
  // gradient is next to nothing, rounding decides, and the loss does not notice.
  EXPECT_NEAR(shared.loss_after, single.loss_after, 1e-3 * single.loss_after);
  EXPECT_EQ(shared.best_step, single.best_step);
  EXPECT_NEAR(relative_error(together, mlp, samples), relative_error(alone, mlp, samples), 1e-3 * single.loss_after);
}

TEST(MlpRefiner, TokensOfNoWeightDoNotCount) {
  const Communicator world = Communicator::world();
  const Mlp mlp;
  const Samples samples(mlp, 40);
  Samples shifted = samples;  // every other token has another target
  std::vector<float> weights;
  for (index_t t = 0; t < samples.size(); ++t) {
    weights.push_back(t % 2 == 0 ? 3.0f : 0.0f);
    if (t % 2 == 0) continue;
    for (index_t i = 0; i < hidden; ++i) shifted.targets[static_cast<std::size_t>(t * hidden + i)] += 5;
  }
  const RefineOptions options{.steps = 10, .rate = 0.01, .batch = 40};
  std::vector<std::vector<float>> numbers;
  for (const Samples* given : {&samples, &std::as_const(shifted)}) {
    Refiner refiner(mlp, options);
    const RefineReport report = refine(refiner, world, *given, 1, weights);
    EXPECT_LT(report.loss_after, report.loss_before);
    numbers.push_back(numbers_of(refiner, mlp));
  }
  EXPECT_EQ(numbers.front(), numbers.back());
}

TEST(MlpRefiner, GivesTheSameBitsAgainOnAllRanksAndForAnyNumberOfThreads) {
  const Communicator world = Communicator::world();
  const Mlp mlp;
  const Samples samples(mlp, 70);
  std::vector<float> first;
  for (int threads : {1, 1, 2, 3}) {
    if (threads > 1 && world.size() > 1) continue;  // more threads than cores wait for each other, long
    Refiner refiner(mlp, short_run);
    refine(refiner, world, samples, threads);
    const std::vector<float> numbers = numbers_of(refiner, mlp);
    if (first.empty()) first = numbers;
    EXPECT_EQ(numbers, first);
  }
  std::vector<float> of_root = first;
  comm::broadcast(world, std::as_writable_bytes(std::span<float>(of_root)));
  EXPECT_EQ(first, of_root);
  Refiner other(mlp, RefineOptions{.steps = 45, .rate = 0.01, .batch = 40, .seed = 4});
  refine(other, world, samples);
  EXPECT_NE(numbers_of(other, mlp), first);
}

TEST(MlpRefiner, RefusesWhatItCannotRefineOnAllRanksAlike) {
  const Communicator world = Communicator::world();
  const Mlp mlp;
  const Samples intact(mlp, 40);
  Refiner refiner(mlp, RefineOptions{.steps = 2});
  Samples samples = intact;
  samples.inputs[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(refine(refiner, world, samples), Error);
  samples = intact;
  samples.targets.back() = std::numeric_limits<float>::infinity();
  EXPECT_THROW(refine(refiner, world, samples), Error);
  samples = intact;
  std::ranges::fill(samples.targets, 0.0f);
  EXPECT_THROW(refine(refiner, world, samples), Error);
  samples.inputs.clear();
  samples.targets.clear();
  EXPECT_THROW(refine(refiner, world, samples), Error);
  EXPECT_NO_THROW(refine(refiner, world, intact));

  EXPECT_THROW(Refiner(mlp, RefineOptions{.steps = -1}), Error);
  EXPECT_THROW(Refiner(mlp, RefineOptions{.rate = 0}), Error);
  EXPECT_THROW(Refiner(mlp, RefineOptions{.rate = std::nan("")}), Error);
  EXPECT_THROW(Refiner(mlp, RefineOptions{.batch = 0}), Error);
  Mlp broken;
  for (TruncatedTile& tile : broken.down.tiles) {
    if (tile.rank > 0) tile.vt.data()[0] = std::numeric_limits<float>::quiet_NaN();
  }
  Refiner hopeless(broken, RefineOptions{.steps = 2});
  EXPECT_THROW(refine(hopeless, world, intact), Error);
}

}  // namespace
}  // namespace hack::svd
