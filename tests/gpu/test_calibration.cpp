// Compression fitted to a text with its layers on the device, against the CPU's.

#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "model/calibration/layerwise_fit.hpp"
#include "model/calibration/layerwise_pass.hpp"
#include "model/calibration/loss_sensitivity.hpp"
#include "model/llama/llama.hpp"
#include "model/llama/names.hpp"
#include "svd/pipeline/compress.hpp"
#include "tests/gpu/tiny_files.hpp"

namespace hack::model {
namespace {

using svd::InputStatistics;
using tests::TinyFiles;

TokenWindows some_windows(index_t context, index_t count) {
  std::mt19937 random(7);
  std::vector<int> ids;
  for (index_t t = 0; t < context * count; ++t) ids.push_back(static_cast<int>(random() % 256));
  return cut_windows(ids, context, 0, count);
}

/// A matrix off by a fiftieth.
std::vector<float> changed(const Checkpoint& checkpoint, const std::string& name) {
  const TensorInfo info = checkpoint.info(name);
  std::vector<float> values(static_cast<std::size_t>(info.rows * info.cols));
  checkpoint.read(name, 0, 0, {values.data(), info.rows, info.cols});
  for (std::size_t i = 0; i < values.size(); ++i) values[i] *= i % 2 == 0 ? 0.98f : 1.02f;
  return values;
}

/// Statistics of all inputs of the second of two layers, whose compressed stream has other matrices in the first and in
/// this one; and what the refinement of its MLP would be given.
struct Gathered {
  std::vector<InputStatistics> statistics;
  std::vector<float> inputs, targets, weights;
  std::vector<std::vector<float>> state;
};

template <Device D>
Gathered gather(const TinyFiles& files, double token_power, bool with_cross) {
  const TokenWindows windows = some_windows(21, 3);
  Queue<D> queue(2);
  LayerwisePass<D> pass(files.world(), queue, {files.checkpoint(), windows}, {DType::f32, true, token_power});
  Gathered out;
  const auto replace = [&](index_t layer, Linear linear) {
    const std::string name = weight_name(layer, linear);
    const TensorInfo info = files.checkpoint().info(name);
    const std::vector<float> values = changed(files.checkpoint(), name);
    pass.replace(linear, {values.data(), info.rows, info.cols});
  };
  for (index_t layer = 0; layer < 2; ++layer) {
    pass.load(layer);
    const auto take = [&](LinearInput input) {
      InputStatistics statistics = pass.statistics(input, with_cross);
      if (layer == 1) out.statistics.push_back(std::move(statistics));
    };
    take(LinearInput::attention);
    replace(layer, Linear::k);
    take(LinearInput::attention_output);
    pass.advance_attention();
    take(LinearInput::mlp);
    replace(layer, Linear::gate);
    take(LinearInput::inner);
    replace(layer, Linear::down);
    if (layer == 1) {
      pass.advance_dense_mlp();
      const Buffer<float> inputs = pass.mlp_inputs(), targets = pass.mlp_targets();
      out.inputs.assign(inputs.data(), inputs.data() + inputs.size());
      out.targets.assign(targets.data(), targets.data() + targets.size());
      out.weights = pass.token_weights();
    }
    pass.advance_mlp();
  }
  for (const auto& stream : pass.state()) out.state.emplace_back(stream.span().begin(), stream.span().end());
  return out;
}

/// Rounding relative to the largest: sums of some hundred f32 terms on either side, twice or thrice in a row.
constexpr double rounding = 2e-5;

template <class T>
void expect_near(std::span<const T> actual, std::span<const T> expected, double bound) {
  ASSERT_EQ(actual.size(), expected.size());
  double largest = 0, difference = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(expected[i])));
    difference = std::max(difference, std::fabs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])));
    ASSERT_TRUE(std::isfinite(static_cast<double>(actual[i])));
  }
  EXPECT_LE(difference, bound * largest);
}

std::span<const double> numbers_of(MatrixView<const double> x) {
  return {x.data, static_cast<std::size_t>(x.rows * x.cols)};
}

void expect_same_statistics(const TinyFiles& files, double token_power, bool with_cross) {
  const Gathered expected = gather<Device::cpu>(files, token_power, with_cross);
  const Gathered actual = gather<Device::cuda>(files, token_power, with_cross);
  for (std::size_t input = 0; input < 4; ++input) {
    const InputStatistics &here = actual.statistics[input], &there = expected.statistics[input];
    EXPECT_EQ(here.kind(), there.kind());
    expect_near(numbers_of(here.h()), numbers_of(there.h()), rounding);
    if (with_cross) expect_near(numbers_of(here.cross()), numbers_of(there.cross()), rounding);
  }
  const auto compare = [&](const std::vector<float>& here, const std::vector<float>& there, double bound) {
    expect_near(std::span(here), std::span(there), bound);
  };
  compare(actual.inputs, expected.inputs, rounding);
  // Differences of streams fifty times as large.
  compare(actual.targets, expected.targets, 50 * rounding);
  if (token_power > 0) {
    compare(actual.weights, expected.weights, rounding);
  } else {
    EXPECT_TRUE(actual.weights.empty());
  }
  for (std::size_t s = 0; s < 2; ++s) compare(actual.state[s], expected.state[s], rounding);
}

TEST(GpuCalibration, GathersWhatTheCpuGathers) {
  const TinyFiles files({.attention_bias = true, .mlp_bias = true});
  expect_same_statistics(files, 0, true);
  expect_same_statistics(files, 1, true);
  expect_same_statistics(files, 0.5, false);
}

TEST(GpuCalibration, TakesUpStreamsWhereTheyWere) {
  const TinyFiles files({.layers = 1});
  const TokenWindows windows = some_windows(9, 3);
  Queue<Device::cuda> queue(1);
  LayerwisePass<Device::cuda> first(files.world(), queue, {files.checkpoint(), windows}, {DType::f32, true});
  first.load(0);
  first.advance_attention();
  std::string state;
  for (const auto& stream : first.state()) {
    state.append(reinterpret_cast<const char*>(stream.data()), stream.span().size_bytes());
  }
  LayerwisePass<Device::cuda> second(files.world(), queue, {files.checkpoint(), windows}, {DType::f32, true});
  second.restore(state);
  std::string again;
  for (const auto& stream : second.state()) {
    again.append(reinterpret_cast<const char*>(stream.data()), stream.span().size_bytes());
  }
  EXPECT_TRUE(state == again);
}

/// A tiny model compressed with its text, and the mean loss of the result on other tokens.
struct Compressed {
  svd::CompressReport report;
  double loss = 0;
};

Compressed compress(TinyFiles& files, LayerwiseOptions options, Queue<Device::cuda>* gpu) {
  const TokenWindows windows = some_windows(24, 6);
  Queue<Device::cpu> queue(1);
  options.gpu = gpu;
  const std::string name = gpu != nullptr ? "gpu.h5" : "cpu.h5";
  Compressed out;
  const auto fit = make_layerwise_fit(files.world(), queue, {files.checkpoint(), windows}, options);
  out.report = svd::compress(files.world(), *fit, {{}, files.file(name)});
  files.take(name);
  std::vector<int> ids;
  for (int t = 0; t < 64; ++t) ids.push_back(t * 37 % 256);
  Llama<Device::cpu> llama(files.source(DType::f32), files.world(), queue);
  KvCache<Device::cpu> cache = llama.make_cache(std::ssize(ids));
  const std::span<const int> all(ids);
  const std::vector<float> losses = llama.losses(llama.forward(all.first(63), cache), all.last(63));
  for (const float loss : losses) out.loss += loss / 63;
  return out;
}

LayerwiseOptions options_of_tests() {
  LayerwiseOptions options;
  // Ranks are given by the rule alone, so that rounding cannot move one from tile to tile.
  options.storage = {.tile = 32, .rule = {svd::RankRule::Kind::topk, 0.4}, .codec = Codec::f32};
  options.weighting.sweeps = 2;
  options.linears = {all_linears.begin(), all_linears.end()};
  return options;
}

/// `bound`, relative, of weighted errors and, as exp(loss), of the perplexity.
void expect_same_compression(const LayerwiseOptions& options, double bound) {
  TinyFiles files({.mlp_bias = true});
  Queue<Device::cuda> gpu(1);
  const Compressed expected = compress(files, options, nullptr);
  const Compressed actual = compress(files, options, &gpu);
  ASSERT_EQ(actual.report.weighted.size(), expected.report.weighted.size());
  for (std::size_t m = 0; m < actual.report.weighted.size(); ++m) {
    const svd::WeightedSummary &here = actual.report.weighted[m], &there = expected.report.weighted[m];
    EXPECT_NEAR(here.energy, there.energy, bound * there.energy) << m;
    EXPECT_NEAR(here.error, there.error, bound * there.error) << m;
    EXPECT_EQ(actual.report.matrices[m].bytes_factors, expected.report.matrices[m].bytes_factors) << m;
  }
  EXPECT_NEAR(std::exp(actual.loss - expected.loss), 1, bound);
  ASSERT_EQ(actual.report.refined.size(), expected.report.refined.size());
  for (std::size_t l = 0; l < actual.report.refined.size(); ++l) {
    const double after = expected.report.refined[l].loss_after;
    EXPECT_LT(after, expected.report.refined[l].loss_before);
    EXPECT_NEAR(actual.report.refined[l].loss_after, after, bound * after);
  }
}

// Roundings of 1e-7 in the streams are relative to H's largest directions and grow by the condition of the damped H,
// some hundreds here, from layer to layer.
constexpr double bound_of_factors = 2e-3;
// Adam divides by the root of small squares, where rounding decides over the sign.
constexpr double bound_of_refinement = 1e-2;

TEST(GpuCalibration, CompressesAsTheCpuDoes) {
  LayerwiseOptions options = options_of_tests();
  options.head = true;
  expect_same_compression(options, bound_of_factors);
}

TEST(GpuCalibration, CompressesWithRefinementAsTheCpuDoes) {
  LayerwiseOptions options = options_of_tests();
  options.refine = svd::RefineOptions{.steps = 4, .batch = 60};
  options.token_power = 1;
  options.linears = {Linear::gate, Linear::up, Linear::down};
  expect_same_compression(options, bound_of_refinement);
}

TEST(GpuCalibration, MeasuresLossesAsTheCpuDoes) {
  const TinyFiles files({.layers = 2});
  const TokenWindows windows = some_windows(20, 4), probe = some_windows(17, 1);
  SensitivityOptions options{.storage = options_of_tests().storage,
                             .linears = {Linear::k, Linear::o, Linear::gate, Linear::down},
                             .head = true};
  Queue<Device::cpu> queue(1);
  Queue<Device::cuda> gpu(1);
  const auto measure = [&](Queue<Device::cuda>* device) {
    options.gpu = device;
    return measure_sensitivities(files.world(), queue, {files.checkpoint(), windows}, probe, options,
                                 [](index_t, index_t) {});
  };
  const std::vector<MatrixSensitivity> expected = measure(nullptr), actual = measure(&gpu);
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t m = 0; m < actual.size(); ++m) {
    EXPECT_EQ(actual[m].name, expected[m].name);
    EXPECT_GT(expected[m].divergence, 0);
    EXPECT_NEAR(actual[m].divergence, expected[m].divergence, 1e-3 * expected[m].divergence + 1e-6);
    EXPECT_NEAR(actual[m].discarded, expected[m].discarded, 1e-4 * expected[m].discarded);
  }
}

}  // namespace
}  // namespace hack::model
