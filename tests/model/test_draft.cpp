// Decoding with a draft: how many tokens it proposes, and that the text is the model's own.

#include <gtest/gtest.h>

#include "model/draft/generate_drafted.hpp"
#include "svd/archive/factor_archive.hpp"
#include "svd/pipeline/compress.hpp"
#include "tests/support/tiny_checkpoint.hpp"

namespace hack::model {
namespace {

using hack::testing::TinyCheckpoint;
using hack::testing::TinyModel;

constexpr TinyModel tiny = {.hidden = 128, .intermediate = 160, .heads = 4, .kv_heads = 2, .head_dim = 16};

std::vector<int> some_ids(index_t n, int step) {
  std::vector<int> ids(n);
  for (index_t i = 0; i < n; ++i) ids[i] = static_cast<int>(i * step % 261);
  return ids;
}

/// Writes an archive of the MLP that keeps so much of its bytes. Collective.
void compress_mlp(const TinyCheckpoint& files, const svd::RankRule& rule, Codec codec) {
  std::vector<svd::MatrixSource> sources;
  for (const std::string& name : (*files).names()) {
    if (name.find(".mlp.") == std::string::npos) continue;
    const TensorInfo info = (*files).info(name);
    sources.push_back({name, info.rows, info.cols, [&files, name](index_t row, index_t col, MatrixView<float> out) {
                         (*files).read(name, row, col, out);
                       }});
  }
  Queue<Device::cpu> queue(1);
  svd::compress(files.world(), queue, sources, {svd::TileMode::tile, 64, rule, codec},
                {{"0", (*files).fingerprint(), "{}", "plain", "{}"}, files.archive_path()});
}

TEST(DraftCosts, ExpectWhatAGeometricSeriesGives) {
  const DraftCosts costs{.acceptance = 0.8, .draft_seconds = 0.3, .model_seconds = 1, .further_seconds = 0.1};
  EXPECT_DOUBLE_EQ(costs.tokens(0), 1);
  EXPECT_NEAR(costs.tokens(4), (1 - std::pow(0.8, 5)) / (1 - 0.8), 1e-12);
  EXPECT_NEAR(costs.tokens_per_second(4), costs.tokens(4) / (1 + 4 * 0.4), 1e-12);
}

/// Passes of a draft with these costs, each as long as `length` asks for: how many tokens the last ones propose.
std::vector<index_t> lengths(DraftLength length, const DraftCosts& costs, int passes) {
  std::vector<index_t> proposed;
  double owed = 0;  // accepted tokens that are not whole yet
  for (int p = 0; p < passes; ++p) {
    const index_t g = length.next();
    owed += costs.tokens(g) - 1;
    const auto accepted = std::min(g, static_cast<index_t>(owed));
    owed -= static_cast<double>(accepted);
    const auto count = static_cast<double>(g);
    length.record({g, accepted, count * costs.draft_seconds, costs.model_seconds + count * costs.further_seconds});
    proposed.push_back(g);
  }
  return proposed;
}

TEST(DraftLength, GrowsWithAcceptanceAndEndsWhereADraftCostsTooMuch) {
  const auto most_often = [](const std::vector<index_t>& proposed) {
    std::array<int, DraftLength::largest + 1> counts{};
    for (const index_t g : proposed) ++counts[static_cast<std::size_t>(g)];
    return std::max_element(counts.begin(), counts.end()) - counts.begin();
  };
  const auto usual = [&](double acceptance, double draft) {
    return most_often(lengths(DraftLength({}), {acceptance, draft, 1, 0.05}, 400));
  };
  EXPECT_EQ(usual(0.97, 0.1), DraftLength::largest);
  EXPECT_LT(usual(0.7, 0.3), usual(0.9, 0.2));
  EXPECT_EQ(usual(0.5, 0.9), 0) << "the model alone is faster";
  // One that does not pay is looked at again now and then, and so is the model alone beside one that pays.
  const std::vector<index_t> refused = lengths(DraftLength({}), {0.3, 0.9, 1, 0.1}, 400);
  EXPECT_GT(std::count_if(refused.begin() + 10, refused.end(), [](index_t g) { return g > 0; }), 2);
  const std::vector<index_t> fixed = lengths(DraftLength(5), {0.3, 0.9, 1, 0.1}, 400);
  EXPECT_GT(std::count(fixed.begin(), fixed.end(), 5), 380);
  EXPECT_GT(std::count(fixed.begin() + 10, fixed.end(), 0), 2);
}

struct NamedWeights {
  const char* name;
  HeldType type;
  Codec codec;
};

class DraftTest : public ::testing::TestWithParam<NamedWeights> {};

// That texts are equal rests on it: a token's numbers do not depend on how many tokens go through a pass with it.
TEST_P(DraftTest, StatesOfTokensTogetherAreThoseOfEachAlone) {
  const TinyCheckpoint files(tiny);
  compress_mlp(files, {svd::RankRule::Kind::topk, 0.5}, GetParam().codec);
  const svd::FactorArchive archive(files.archive_path());
  Queue<Device::cpu> queue(2);
  for (const svd::FactorSource* source :
       {static_cast<const svd::FactorSource*>(nullptr), static_cast<const svd::FactorSource*>(&archive)}) {
    Llama<Device::cpu> llama({*files, source, GetParam().type}, files.world(), queue);
    const std::vector<int> ids = some_ids(60, 37);
    KvCache<Device::cpu> alone = llama.make_cache(60), together = llama.make_cache(60);
    std::vector<float> expected;
    for (const int id : ids) {
      const auto state = llama.forward({&id, 1}, alone);
      expected.insert(expected.end(), state.row(0), state.row(0) + state.cols);
    }
    std::vector<float> found;
    for (index_t t = 0, n = 1; t < 60; t += n, n = n % 8 + 1) {
      n = std::min(n, 60 - t);
      const auto states = llama.forward(std::span(ids).subspan(t, n), together);
      for (index_t i = 0; i < n; ++i) found.insert(found.end(), states.row(i), states.row(i) + states.cols);
    }
    EXPECT_EQ(found, expected) << (source == nullptr ? "dense" : "compressed");
  }
}

TEST_P(DraftTest, TextIsThatOfTheModelAlone) {
  const TinyCheckpoint files(tiny);
  compress_mlp(files, {svd::RankRule::Kind::topk, 0.5}, GetParam().codec);
  const svd::FactorArchive archive(files.archive_path());
  Queue<Device::cpu> queue(1);
  Llama<Device::cpu> llama({*files, nullptr, GetParam().type}, files.world(), queue);
  Llama<Device::cpu> draft({*files, &archive, GetParam().type}, files.world(), queue);
  index_t accepted = 0, refused = 0;
  for (const double temperature : {0.0, 0.8}) {
    for (const std::optional<index_t> fixed :
         {std::optional<index_t>{}, std::optional<index_t>{1}, std::optional<index_t>{7}}) {
      const SamplerOptions options{.temperature = temperature, .top_p = 0.95, .repetition_penalty = 1.1, .seed = 7};
      const std::vector<int> prompt = some_ids(9, 41);
      const GenerateOptions until{40, {}};
      const auto go_on = [](int) { return true; };
      Sampler one(options), other(options);
      const Generated plain = generate(llama, std::span<const int>(prompt), until, one, go_on);
      DraftLength length(fixed);
      const DraftedText drafted = generate_drafted(DraftedModel<Device::cpu>{llama, draft},
                                                   std::span<const int>(prompt), until, other, length, go_on);
      EXPECT_EQ(drafted.text.ids, plain.ids);
      EXPECT_EQ(plain.ids.size(), 40u);
      EXPECT_TRUE(!fixed || drafted.passes > 0);
      accepted += drafted.accepted;
      refused += drafted.proposed - drafted.accepted;
    }
  }
  EXPECT_GT(accepted, 0) << "the draft was of no use";
  EXPECT_GT(refused, 0) << "and nothing was refused: this shows little";
}

INSTANTIATE_TEST_SUITE_P(Weights, DraftTest,
                         ::testing::Values(NamedWeights{"F32", DType::f32, Codec::f32},
                                           NamedWeights{"Bf16", DType::bf16, Codec::bf16},
                                           NamedWeights{"Int8", DType::bf16, Codec::int8},
                                           NamedWeights{"Q8", DType::bf16, Codec::q8_0}),
                         [](const auto& weights) { return std::string(weights.param.name); });

}  // namespace
}  // namespace hack::model
