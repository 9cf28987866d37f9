// The whole forward pass on the GPU against the CPU's, dense and on factors, alone and split over ranks.

#include <gtest/gtest.h>

#include "model/llama/device_decoder.hpp"
#include "model/llama/generate.hpp"
#include "model/llama/llama.hpp"
#include "model/evaluate/model_comparison.hpp"
#include "tests/gpu/tiny_files.hpp"

namespace hack::model {
namespace {

using tests::TinyFiles;

std::vector<int> some_ids(index_t n) {
  std::vector<int> ids(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) ids[static_cast<std::size_t>(i)] = static_cast<int>(i * 37 % 261);
  return ids;
}

/// Losses of a text: twelve tokens at once, two, then token by token. The CPU takes the twelve in halves: with more
/// tokens at once one that has products of bf16 pairs rounds what it multiplies.
template <Device D>
std::vector<float> losses_of(const TinyFiles& files, DType type, Products products = Products::fast) {
  const std::vector<int> ids = some_ids(17);
  Queue<D> queue(1, products);
  Llama<D> llama(files.source(type), files.world(), queue);
  KvCache<D> cache = llama.make_cache(std::ssize(ids));
  std::vector<float> losses;
  const std::span<const int> all(ids);
  constexpr std::size_t many = D == Device::cpu ? 6 : 12;
  for (std::size_t first = 0, n = many; first + 1 < all.size(); first += n) {
    if (first >= 12) n = first < 14 ? 2 : 1;
    const std::vector<float> part =
        llama.losses(llama.forward(all.subspan(first, n), cache), all.subspan(first + 1, n));
    losses.insert(losses.end(), part.begin(), part.end());
  }
  return losses;
}

void expect_twins(const TinyFiles& files, DType type, double bound, Products products = Products::fast) {
  const std::vector<float> expected = losses_of<Device::cpu>(files, type, products);
  const std::vector<float> actual = losses_of<Device::cuda>(files, type);
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t t = 0; t < actual.size(); ++t) EXPECT_NEAR(actual[t], expected[t], bound) << "token " << t;
}

// Logits of order 1 from sums of some hundred f32 terms, as between the CPU and a model in double.
constexpr double bound_of_f32 = 1e-5;
// Many tokens at once go through products that leave out 2^-17 of what they multiply.
constexpr double bound_of_narrow = 1e-4;

TEST(GpuLlama, LosesWhatTheCpuLoses) {
  expect_twins(TinyFiles({.layers = 1, .attention_bias = true, .mlp_bias = true}), DType::f32, bound_of_f32);
  expect_twins(TinyFiles({.layers = 1, .qk_norm = true}), DType::f32, bound_of_f32);
}

TEST(GpuLlama, LosesWhatTheCpuLosesWithNarrowWeights) {
  for (DType type : {DType::bf16, DType::f16}) {
    expect_twins(TinyFiles({.layers = 1, .tied = true, .dtype = type}), type, bound_of_narrow);
  }
}

TEST(GpuLlama, LosesWhatTheCpuLosesWhereARankHasNoHead) {
  expect_twins(TinyFiles({.layers = 1, .heads = 1, .kv_heads = 1, .head_dim = 4}), DType::f32, bound_of_f32);
}

TEST(GpuLlama, RunsOnFactors) {
  using Kind = svd::RankRule::Kind;
  for (const svd::CompressOptions& options :
       {svd::CompressOptions{svd::TileMode::tile, 50, {Kind::keep, 0.8}, Codec::f32},
        svd::CompressOptions{svd::TileMode::tile, 32, {Kind::topk, 0.4}, Codec::f32, kernels::Structure::low_rank},
        svd::CompressOptions{svd::TileMode::full, 1, {Kind::topk, 0.3}, Codec::f32}}) {
    TinyFiles files({.layers = 1});
    files.compress(options);
    expect_twins(files, DType::f32, bound_of_f32);
  }
  TinyFiles files({.layers = 1});
  files.compress({svd::TileMode::tile, 50, {Kind::keep, 0.8}, Codec::bf16});
  expect_twins(files, DType::bf16, bound_of_narrow);
}

TEST(GpuLlama, RunsOnTermsOfEveryCodec) {
  // Ranks take whole blocks of 64 columns; one rank has no such borders.
  const bool is_shared = comm::Communicator::world().size() > 1;
  for (const CodecSpec& spec : term_codec_specs) {
    SCOPED_TRACE(::testing::Message() << spec.name);
    for (const auto storage : {kernels::Structure::low_rank, kernels::Structure::interpolative}) {
      TinyFiles files(
          is_shared ? testing::TinyModel{.intermediate = 256, .layers = 1, .heads = 2, .kv_heads = 2, .head_dim = 64}
                    : testing::TinyModel{.layers = 1});
      files.compress({svd::TileMode::tile, 64, {svd::RankRule::Kind::topk, 0.4}, spec.codec, storage});
      // The fast products of CPUs round tokens to eight bits where weights are integers.
      expect_twins(files, plain_type(spec.codec), bound_of_narrow, Products::exact);
    }
  }
}

template <Device D>
std::vector<int> continuation(const TinyFiles& files, const SamplerOptions& options, DType type = DType::f32) {
  const std::vector<int> prompt = some_ids(5);
  Queue<D> queue(1);
  Llama<D> llama(files.source(type), files.world(), queue);
  Sampler sampler(options);
  return generate(llama, std::span<const int>(prompt), {9, {}}, sampler, [](int) { return true; }).ids;
}

TEST(GpuLlama, GeneratesWhatTheCpuGenerates) {
  const TinyFiles files({.layers = 1});
  for (const SamplerOptions& options :
       {SamplerOptions{}, SamplerOptions{.repetition_penalty = 1.4},
        SamplerOptions{.temperature = 1.3, .top_p = 0.9, .repetition_penalty = 1.1, .seed = 5},
        SamplerOptions{.temperature = 2, .seed = 6}}) {
    EXPECT_EQ(continuation<Device::cuda>(files, options), continuation<Device::cpu>(files, options));
  }
}

TEST(GpuLlama, GeneratesOnFactorsWhatTheCpuGenerates) {
  TinyFiles files({.layers = 2, .mlp_bias = true});
  files.compress({svd::TileMode::tile, 50, {svd::RankRule::Kind::keep, 0.8}, Codec::f32});
  const SamplerOptions options{.temperature = 1, .top_p = 0.95, .seed = 9};
  EXPECT_EQ(continuation<Device::cuda>(files, options), continuation<Device::cpu>(files, options));
}

/// Tokens by replayed steps, and whether they were replayed.
template <Device D>
std::pair<std::vector<int>, bool> replayed(const TinyFiles& files) {
  const std::vector<int> prompt = some_ids(5);
  Queue<D> queue(1);
  Llama<D> llama(files.source(DType::f32), files.world(), queue);
  KvCache<D> cache = llama.make_cache(300);  // more positions than one part of attention takes
  Sampler sampler({.temperature = 1.5, .seed = 4});
  const auto states = llama.forward(prompt, cache);
  DeviceDecoder<D> decoder(llama, cache, sampler, prompt);
  std::vector<int> ids = {decoder.first(states.rows_from(4, 1))};
  for (int n = 0; n < 6; ++n) ids.push_back(decoder.next());
  return {ids, decoder.is_replayed()};
}

TEST(GpuLlama, ReplaysStepsWhereNothingLeavesTheDevice) {
  const TinyFiles files({.layers = 1});
  const auto [expected, never] = replayed<Device::cpu>(files);
  const auto [actual, is_replayed] = replayed<Device::cuda>(files);
  EXPECT_EQ(actual, expected);
  EXPECT_FALSE(never);
  // Ranks that share a GPU wait and copy for their sums; so do those that have none but the host's.
  EXPECT_EQ(is_replayed, files.world().size() == 1);
}

TEST(GpuLlama, GoesOnReplayingBehindAnotherPrompt) {
  const TinyFiles files({.layers = 1});
  Queue<Device::cuda> queue(1);
  Llama<Device::cuda> llama(files.source(DType::f32), files.world(), queue);
  KvCache<Device::cuda> cache = llama.make_cache(20);
  Sampler sampler({.repetition_penalty = 1.3});
  const std::vector<int> long_prompt = some_ids(9), short_prompt = some_ids(4);
  DeviceDecoder<Device::cuda> decoder(llama, cache, sampler, long_prompt);
  const auto decode = [&](DeviceDecoder<Device::cuda>& by, std::span<const int> prompt) {
    cache.clear();
    const auto state = llama.last_state(prompt, cache);
    by.restart(prompt);
    std::vector<int> ids = {by.first(state)};
    for (int n = 0; n < 5; ++n) ids.push_back(by.next());
    return ids;
  };
  const std::vector<int> first = decode(decoder, long_prompt), second = decode(decoder, short_prompt);
  EXPECT_EQ(decode(decoder, long_prompt), first);
  EXPECT_EQ(decoder.is_replayed(), files.world().size() == 1);
  DeviceDecoder<Device::cuda> fresh(llama, cache, sampler, short_prompt);
  EXPECT_EQ(decode(fresh, short_prompt), second);
}

/// How a compressed model diverges from the dense one.
template <Device D>
double divergence() {
  const auto ignore = [](index_t, index_t) {};
  TinyFiles files({.layers = 1});
  Queue<D> queue(1);
  Llama<D> dense(files.source(DType::f32), files.world(), queue);
  const ModelComparison<D> comparison(dense, some_ids(24), plan_windows(find_protocol("hack"), 24, 12, {}, {}), ignore);
  files.compress({svd::TileMode::tile, 32, {svd::RankRule::Kind::topk, 0.4}, Codec::f32});
  Llama<D> factored(files.source(DType::f32), files.world(), queue);
  return comparison.compare(factored, {files.checkpoint(), nullptr, DType::f32}, ignore).divergence.mean.value;
}

TEST(GpuLlama, ComparesModelsAsTheCpuDoes) {
  const double expected = divergence<Device::cpu>();
  EXPECT_GT(expected, 1e-3);
  EXPECT_NEAR(divergence<Device::cuda>(), expected, 1e-5 + 1e-4 * expected);
}

}  // namespace
}  // namespace hack::model
