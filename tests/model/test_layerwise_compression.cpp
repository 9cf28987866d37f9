// Compression layer by layer with a calibration text, on tiny models.

#include "model/calibration/layerwise_fit.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <optional>
#include <random>

#include "comm/collectives.hpp"
#include "model/calibration/layerwise_memory.hpp"
#include "model/calibration/loss_sensitivity.hpp"
#include "model/llama/llama.hpp"
#include "model/evaluate/model_comparison.hpp"
#include "model/llama/names.hpp"
#include "svd/pipeline/compress.hpp"
#include "svd/archive/factor_archive.hpp"
#include "svd/tile/storage.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::model {
namespace {

using comm::Communicator;
using testing::TemporaryDirectory;

std::vector<int> random_ids(index_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int> ids;
  for (index_t t = 0; t < count; ++t) ids.push_back(static_cast<int>(random() % 256));
  return ids;
}

/// A folder and a tiny model in it that all ranks see.
class Layerwise : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string path = world_.is_root() ? folder_.path().string() : std::string();
    comm::broadcast(world_, path);
    shared_ = path;
    if (world_.is_root()) testing::write_hf({.mlp_bias = true}, shared_ / "model");
    world_.barrier();
    checkpoint_ = Checkpoint::open(shared_ / "model");
    windows_ = cut_windows(random_ids(9 * 48, 1), 48, 0, 8);
    options_.storage = {.tile = 32, .rule = {svd::RankRule::Kind::keep, 0.6}, .codec = Codec::f32};
    options_.linears = {Linear::gate, Linear::up, Linear::down};
  }
  void TearDown() override { world_.barrier(); }

  svd::CompressReport compress(const Communicator& comm, const std::string& name, const RankChoices& choices = {}) {
    const auto fit = make_layerwise_fit(comm, queue_, {*checkpoint_, windows_}, options_, choices);
    return svd::compress(comm, *fit, {{}, shared_ / name});
  }
  /// With a journal, and an end after `layers` of them.
  svd::CompressReport compress_until(index_t layers, const std::string& name) {
    comm::Journal journal(world_, shared_ / (name + ".parts"), "key", true);
    const auto end_there = [&](index_t done, index_t, std::optional<int>) { validate(done != layers, "ended"); };
    const auto fit = make_layerwise_fit(world_, queue_, {*checkpoint_, windows_}, options_);
    return svd::compress(world_, *fit, {{}, shared_ / name, end_there, &journal});
  }

  /// The same matrices without a text.
  svd::FactorArchive compress_plain(const svd::CompressReport& fitted, const std::string& name) {
    std::vector<svd::MatrixSource> sources;
    for (const svd::CompressionSummary& matrix : fitted.matrices) {
      const TensorInfo info = checkpoint_->info(matrix.name);
      sources.push_back({matrix.name, info.rows, info.cols,
                         [this, tensor = matrix.name](index_t i, index_t j, MatrixView<float> out) {
                           checkpoint_->read(tensor, i, j, out);
                         }});
    }
    svd::compress(world_, queue_, sources, options_.storage, {{}, shared_ / name});
    return svd::FactorArchive(shared_ / name);
  }

  /// Final states of the model with an archive, or of the dense one, after tokens it was not calibrated on.
  std::vector<float> states(const std::string& archive_name) {
    std::optional<svd::FactorArchive> archive;
    if (!archive_name.empty()) archive.emplace(shared_ / archive_name);
    const Communicator self = Communicator::self();
    Llama<Device::cpu> llama({*checkpoint_, archive ? &*archive : nullptr, DType::f32}, self, queue_);
    KvCache<Device::cpu> cache = llama.make_cache(100);
    const auto view = llama.forward(random_ids(100, 2), cache);
    return {view.data, view.data + view.rows * view.cols};
  }

  static double distance(const std::vector<float>& a, const std::vector<float>& b) {
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      difference += (a[i] - b[i]) * (a[i] - b[i]);
      size += a[i] * a[i];
    }
    return std::sqrt(difference / size);
  }

  Communicator world_ = Communicator::world();
  Communicator self_ = Communicator::self();
  TemporaryDirectory folder_;
  std::filesystem::path shared_;
  std::unique_ptr<Checkpoint> checkpoint_;
  Queue<Device::cpu> queue_{2};
  TokenWindows windows_;
  LayerwiseOptions options_;
};

TEST_F(Layerwise, BudgetOfOneIsTheDenseModel) {
  options_.storage.rule.value = 1;
  const svd::CompressReport report = compress(world_, "one.h5");
  // The layers before are exact, so there is nothing to make up for: T = W up to the statistics' rounding.
  EXPECT_LT(distance(states(""), states("one.h5")), 1e-4);
  for (const svd::WeightedSummary& matrix : report.weighted) EXPECT_LE(matrix.error, 1e-9 * matrix.energy);
}

TEST_F(Layerwise, RanksAgree) {
  for (const int steps : {0, 6}) {
    if (steps > 0) options_.refine = svd::RefineOptions{.steps = steps, .batch = 96};
    options_.token_power = steps > 0 ? 1 : 0;
    const svd::CompressReport together = compress(world_, "together.h5");
    const std::string mine = "alone" + std::to_string(world_.rank()) + ".h5";
    const svd::CompressReport alone = compress(self_, mine);
    // Rounding may move the last rank of a budget to another tile.
    EXPECT_NEAR(together.total.keep(), alone.total.keep(), 1e-3);
    EXPECT_LE(together.total.keep(), 0.6);
    // Steps of Adam amplify what rounding begins, and take other tokens on other ranks.
    EXPECT_LT(distance(states(mine), states("together.h5")), steps == 0 ? 2e-3 : 0.1);
    world_.barrier();
  }
}

TEST_F(Layerwise, GoesOnAfterFinishedLayers) {
  options_.refine = svd::RefineOptions{.steps = 3, .batch = 96};
  const svd::CompressReport whole = compress(world_, "whole.h5");
  EXPECT_THROW(compress_until(1, "ended.h5"), Error);
  world_.barrier();
  const svd::CompressReport resumed = compress_until(-1, "ended.h5");
  EXPECT_TRUE(testing::read_file(shared_ / "whole.h5") == testing::read_file(shared_ / "ended.h5"));
  ASSERT_EQ(whole.matrices.size(), resumed.matrices.size());
  for (std::size_t m = 0; m < whole.matrices.size(); ++m) {
    EXPECT_EQ(whole.matrices[m].name, resumed.matrices[m].name);
    EXPECT_EQ(whole.matrices[m].bytes_factors, resumed.matrices[m].bytes_factors);
    EXPECT_EQ(whole.weighted[m].error, resumed.weighted[m].error);
  }
  ASSERT_EQ(whole.refined.size(), resumed.refined.size());
  EXPECT_EQ(whole.refined.front().loss_after, resumed.refined.front().loss_after);
}

/// Where all layers are in the journal, only the head is made.
TEST_F(Layerwise, GoesOnBehindTheLastLayer) {
  options_.linears = {Linear::down};
  options_.head = true;
  compress(world_, "whole.h5");
  EXPECT_THROW(compress_until(checkpoint_->config().layers, "ended.h5"), Error);
  world_.barrier();
  const svd::CompressReport resumed = compress_until(-1, "ended.h5");
  EXPECT_EQ(resumed.matrices.back().name, head_name);
  EXPECT_TRUE(testing::read_file(shared_ / "whole.h5") == testing::read_file(shared_ / "ended.h5"));
}

TEST_F(Layerwise, FittedFactorsAreCloserThanPlainOnesAtEqualBytes) {
  options_.linears = {all_linears.begin(), all_linears.end()};
  const svd::CompressReport fitted = compress(world_, "fitted.h5");
  compress_plain(fitted, "plain.h5");
  const std::vector<float> dense = states("");
  EXPECT_LT(distance(dense, states("fitted.h5")), 0.9 * distance(dense, states("plain.h5")));
}

TEST_F(Layerwise, TheHeadIsFittedLikeAnyOtherMatrix) {
  options_.linears = {Linear::down};
  options_.head = true;
  const svd::CompressReport fitted = compress(world_, "fitted.h5");
  ASSERT_EQ(fitted.matrices.back().name, head_name);
  const svd::FactorArchive archive(shared_ / "fitted.h5");
  const svd::FactorArchive plain = compress_plain(fitted, "plain.h5");
  const std::vector<int> ids = random_ids(100, 2);
  const WindowPlan plan = plan_windows(find_protocol("hack"), 100, 50, {}, {});
  const WeightSource dense{*checkpoint_, nullptr, DType::f32};
  const auto ignore = [](index_t, index_t) {};
  const auto divergence = [&](const Communicator& comm, const svd::FactorArchive& factors) {
    Llama<Device::cpu> reference(dense, comm, queue_);
    const ModelComparison<Device::cpu> comparison(reference, ids, plan, ignore);
    Llama<Device::cpu> compressed({*checkpoint_, &factors, DType::f32}, comm, queue_);
    EXPECT_TRUE(compressed.has_compressed_head());
    return comparison.compare(compressed, dense, ignore).divergence;
  };
  const DivergenceSummary together = divergence(world_, archive), alone = divergence(self_, archive);
  EXPECT_LT(together.mean.value, 0.8 * divergence(world_, plain).mean.value);
  EXPECT_NEAR(together.mean.value, alone.mean.value, 1e-5 * (1 + together.mean.value));
  EXPECT_EQ(together.same_top.value, alone.same_top.value);
  EXPECT_NEAR(together.ln_perplexity.value, alone.ln_perplexity.value, 1e-5);
}

TEST_F(Layerwise, StatisticsOfTheDenseModelAreFoundAgain) {
  options_.compressed_inputs = false;
  options_.statistics_folder = shared_;
  compress(world_, "first.h5");
  std::filesystem::path kept;
  for (const auto& entry : std::filesystem::directory_iterator(shared_)) {
    if (entry.path().filename().string().starts_with("statistics-")) kept = entry.path();
  }
  ASSERT_FALSE(kept.empty());
  const auto written = std::filesystem::last_write_time(kept);
  compress(world_, "again.h5");
  EXPECT_EQ(std::filesystem::last_write_time(kept), written);
  EXPECT_TRUE(testing::read_file(shared_ / "first.h5") == testing::read_file(shared_ / "again.h5"));

  // What is damaged is made anew.
  world_.barrier();
  if (world_.is_root()) std::filesystem::resize_file(kept, std::filesystem::file_size(kept) / 2);
  world_.barrier();
  compress(world_, "anew.h5");
  EXPECT_TRUE(testing::read_file(shared_ / "first.h5") == testing::read_file(shared_ / "anew.h5"));
}

TEST_F(Layerwise, SensitivitiesDoNotDependOnRanksAndAreFoundAgain) {
  const TokenWindows probe = cut_windows(random_ids(40, 3), 40, 0, 1);
  SensitivityOptions options{
      .storage = options_.storage, .linears = {Linear::q, Linear::o, Linear::down}, .head = true, .folder = shared_};
  index_t layers_done = 0;
  const auto measure = [&](const Communicator& comm, const SensitivityOptions& how) {
    return measure_sensitivities(comm, queue_, {*checkpoint_, windows_}, probe, how,
                                 [&](index_t, index_t) { ++layers_done; });
  };
  const std::vector<MatrixSensitivity> together = measure(world_, options);
  EXPECT_EQ(layers_done, checkpoint_->config().layers);
  const std::vector<MatrixSensitivity> again = measure(world_, options);
  EXPECT_EQ(layers_done, checkpoint_->config().layers);
  options.folder.clear();
  const std::vector<MatrixSensitivity> alone = measure(self_, options);
  ASSERT_EQ(together.size(), 7u);
  EXPECT_EQ(together.back().name, head_name);
  for (std::size_t m = 0; m < together.size(); ++m) {
    EXPECT_EQ(together[m].name, alone[m].name);
    EXPECT_EQ(together[m].sigma, again[m].sigma);
    EXPECT_EQ(together[m].divergence, again[m].divergence);
    EXPECT_EQ(together[m].discarded, again[m].discarded);
    EXPECT_GT(together[m].divergence, 0);
    EXPECT_NEAR(together[m].divergence, alone[m].divergence, 1e-3 * alone[m].divergence + 1e-6);
    EXPECT_NEAR(together[m].discarded, alone[m].discarded, 1e-4 * alone[m].discarded);
  }
}

TEST_F(Layerwise, MemoryFollowsWindowsRanksAndStatistics) {
  LlamaConfig config = checkpoint_->config();
  config.vocab_size = 1;  // so that a layer takes most
  const LayerwiseRun run{.windows = 8, .context = 48, .ranks = 1, .threads = 1};
  const auto bytes = [&](const LayerwiseRun& how) { return layerwise_memory(config, options_, how); };
  // A window: two streams, and the inputs of down.
  const auto window = static_cast<double>(4 * run.context * (2 * config.hidden_size + config.intermediate_size));
  EXPECT_EQ(bytes({9, 48, 1, 1}) - bytes(run), window);
  EXPECT_EQ(bytes({9, 48, 2, 1}), bytes({10, 48, 2, 1}));  // the rank that takes most has five
  EXPECT_LT(bytes({8, 48, 2, 1}), bytes(run));
  EXPECT_GT(bytes({8, 48, 1, 2}), bytes(run));
  options_.quantize = svd::QuantizeOptions();
  EXPECT_LT(bytes(run), bytes({8, 48, 1, 2}));
  options_.quantize.reset();
  // What targets take has gone before tiles take more.
  const double whole = bytes(run);
  options_.target_share = 0;
  EXPECT_EQ(bytes(run), whole);
  // Without the fit of all left factors it is they that take more.
  options_.weighting.refit = false;
  const double without_targets = bytes(run);
  options_.target_share = 0.5;
  EXPECT_GT(bytes(run), without_targets);
  options_.target_share = 0;
  config.vocab_size = 1 << 20;  // so that the head does
  const double without_head = bytes(run);
  options_.head = true;
  EXPECT_GT(bytes(run), without_head + 12 * static_cast<double>(config.vocab_size * config.hidden_size));
}

TEST_F(Layerwise, CodesAreCloserToTheModelThanTheNearestOnes) {
  options_.storage.rule = {svd::RankRule::Kind::topk, 1};
  for (const Codec codec : {Codec::q4_0, Codec::q5_1}) {
    options_.storage.codec = codec;
    options_.quantize = svd::QuantizeOptions();
    const svd::CompressReport fitted = compress(world_, "codes.h5");
    const std::string mine = "codes" + std::to_string(world_.rank()) + ".h5";
    compress(self_, mine);
    compress_plain(fitted, "nearest.h5");
    const svd::FactorArchive archive(shared_ / "codes.h5");
    for (const svd::CompressionSummary& matrix : fitted.matrices) {
      for (const svd::TermEntry& term : archive.matrix(matrix.name).terms) {
        EXPECT_EQ(term.structure, kernels::Structure::dense);
        EXPECT_EQ(term.codec, codec);
      }
      EXPECT_GT(matrix.discarded, 0);
      index_t bytes = 0;
      const svd::TileGrid& grid = archive.matrix(matrix.name).grid;
      for (index_t t = 0; t < grid.size(); ++t) {
        const svd::Tile tile = grid.tile(t);
        bytes += svd::stored_bytes(kernels::Structure::dense, tile.height, tile.width, tile.full_rank(), codec);
      }
      EXPECT_EQ(matrix.bytes_factors, bytes);
      EXPECT_EQ(matrix.bytes_dense, 2 * grid.rows() * grid.cols());
    }
    const std::vector<float> dense = states("");
    const double error = distance(dense, states("codes.h5"));
    EXPECT_LT(error, 0.9 * distance(dense, states("nearest.h5")));
    // Statistics that differ by rounding move some codes.
    EXPECT_NEAR(distance(dense, states(mine)), error, 0.1 * error);
    world_.barrier();
  }
}

TEST_F(Layerwise, GivenRanksAreKept) {
  RankChoices choices;
  options_.linears = {Linear::down};
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  const svd::TileGrid grid = options_.storage.grid(checkpoint_->info(name).rows, checkpoint_->info(name).cols);
  choices[name].assign(static_cast<std::size_t>(grid.size()), {kernels::Structure::interpolative, 3, 1.0, 0.5});
  compress(world_, "given.h5", choices);
  const svd::FactorArchive archive(shared_ / "given.h5");
  for (const svd::TermEntry& term : archive.matrix(name).terms) EXPECT_EQ(term.rank, 3);
}

}  // namespace
}  // namespace hack::model
