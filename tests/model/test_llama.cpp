#include "model/llama/llama.hpp"

#include <cmath>
#include <optional>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "model/llama/generate.hpp"
#include "model/evaluate/perplexity.hpp"
#include "svd/pipeline/compress.hpp"
#include "tests/support/reference_llama.hpp"
#include "tests/support/stored_tile.hpp"
#include "tests/support/tiny_checkpoint.hpp"

namespace hack::model {
namespace {

using hack::testing::ReferenceLlama;
using hack::testing::TinyCheckpoint;
using hack::testing::TinyModel;

std::vector<int> some_ids(index_t n) {
  std::vector<int> ids(n);
  for (index_t i = 0; i < n; ++i) ids[i] = static_cast<int>(i * 37 % 261);
  return ids;
}

std::vector<float> window(Llama<Device::cpu>& llama, const std::vector<int>& ids) {
  KvCache<Device::cpu> cache = llama.make_cache(std::ssize(ids));
  return llama.losses(llama.forward(std::span(ids).first(ids.size() - 1), cache), std::span(ids).subspan(1));
}

struct NamedTiny {
  const char* name;
  TinyModel tiny;
};

class LlamaTest : public ::testing::TestWithParam<NamedTiny> {};

TEST_P(LlamaTest, LosesWhatTheReferenceInDoubleLoses) {
  const TinyCheckpoint files(GetParam().tiny);
  Queue<Device::cpu> queue(2);
  Llama<Device::cpu> llama({*files, nullptr, DType::f32}, files.world(), queue);
  const std::vector<int> ids = some_ids(70);
  const std::vector<float> losses = window(llama, ids);
  const std::vector<double> expected = ReferenceLlama(*files).losses(ids);
  ASSERT_EQ(losses.size(), expected.size());
  // Logits of order 1 from sums of some hundred f32 terms, through four blocks: 1e-5 is ten times what is seen.
  for (std::size_t t = 0; t < losses.size(); ++t) EXPECT_NEAR(losses[t], expected[t], 1e-5) << "token " << t;
}

TEST_P(LlamaTest, DecodesTokenByTokenWhatItPrefillsAtOnce) {
  const TinyCheckpoint files(GetParam().tiny);
  Queue<Device::cpu> queue(1);
  Llama<Device::cpu> llama({*files, nullptr, DType::f32}, files.world(), queue);
  const std::vector<int> ids = some_ids(24);
  const std::vector<float> at_once = window(llama, ids);
  KvCache<Device::cpu> cache = llama.make_cache(24);
  for (std::size_t t = 0; t + 1 < ids.size(); ++t) {
    const auto state = llama.forward(std::span(ids).subspan(t, 1), cache);
    EXPECT_NEAR(llama.losses(state, std::span(ids).subspan(t + 1, 1))[0], at_once[t], 1e-5);
  }
}

TEST_P(LlamaTest, MakesTheLastStateAlone) {
  const TinyCheckpoint files(GetParam().tiny);
  Queue<Device::cpu> queue(2);
  Llama<Device::cpu> llama({*files, nullptr, DType::f32}, files.world(), queue);
  const std::vector<int> ids = some_ids(33);
  KvCache<Device::cpu> cache = llama.make_cache(34), whole = llama.make_cache(34);
  for (const std::span<const int> part : {std::span(ids), std::span(ids).first(1)}) {
    const auto state = llama.last_state(part, cache);
    ASSERT_EQ(state.rows, 1);
    const std::vector<float> last(state.row(0), state.row(0) + state.cols);
    const auto states = llama.forward(part, whole);
    EXPECT_EQ(cache.length(), whole.length());
    for (index_t i = 0; i < states.cols; ++i) EXPECT_NEAR(last[i], states(states.rows - 1, i), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, LlamaTest,
    ::testing::Values(
        NamedTiny{"Default", {}}, NamedTiny{"Tied", {.tied = true}},
        NamedTiny{"Biases", {.attention_bias = true, .mlp_bias = true}}, NamedTiny{"HeadNorms", {.qk_norm = true}},
        NamedTiny{"Qwen2", {.qkv_bias = true}}, NamedTiny{"Window", {.sliding_window = 9}},
        NamedTiny{"WindowFromALayerOn", {.layers = 3, .qk_norm = true, .sliding_window = 5, .first_window_layer = 1}},
        NamedTiny{"Yarn",
                  {.rope = {.type = RopeType::yarn, .factor = 4, .original_context = 16, .attention_factor = 1.2}}},
        NamedTiny{"OneKeyValueHead", {.heads = 3, .kv_heads = 1, .head_dim = 8}},
        NamedTiny{"FewerHeadsThanRanks", {.heads = 1, .kv_heads = 1, .head_dim = 4}},
        NamedTiny{"Llama3Rope",
                  {.rope = {.type = RopeType::llama3, .theta = 500, .factor = 8, .original_context = 16}}},
        NamedTiny{"NarrowIntermediate", {.intermediate = 3}}),
    [](const auto& shape) { return std::string(shape.param.name); });

/// Compresses every linear layer of the checkpoint. Collective.
void compress_all(const TinyCheckpoint& files, const svd::CompressOptions& options) {
  std::vector<svd::MatrixSource> sources;
  for (const std::string& name : (*files).names()) {
    const TensorInfo info = (*files).info(name);
    if (name.find("_proj.weight") == std::string::npos) continue;
    sources.push_back({name, info.rows, info.cols, [&files, name](index_t row, index_t col, MatrixView<float> out) {
                         (*files).read(name, row, col, out);
                       }});
  }
  Queue<Device::cpu> queue(1);
  svd::compress(files.world(), queue, sources, options,
                {{"0", (*files).fingerprint(), "{}", "plain", "{}"}, files.archive_path()});
}

/// Replaces the reference's weights by what the archive holds.
void rebuild(ReferenceLlama& reference, const svd::FactorArchive& archive) {
  for (const std::string& name : archive.matrices()) {
    hack::testing::Dense w = reference.weight(name);
    const svd::TileGrid& grid = archive.matrix(name).grid;
    for (index_t number = 0; number < grid.size(); ++number) {
      const svd::Tile place = grid.tile(number);
      const svd::StoredTile tile = archive.read_tiles(name, place.i, place.j, place.j + 1)[0];
      const std::vector<double> values = hack::testing::values_of(tile, place);
      for (index_t r = 0; r < place.height; ++r) {
        std::copy_n(values.data() + r * place.width, place.width, &w.data[(place.row + r) * w.cols + place.col]);
      }
    }
    reference.set(name, std::move(w));
  }
}

TEST(CompressedLlama, RunsOnFactorsWhatTheReferenceRunsRebuilt) {
  using Kind = svd::RankRule::Kind;
  for (const svd::CompressOptions& options :
       {svd::CompressOptions{svd::TileMode::tile, 32, {Kind::topk, 0.4}, Codec::f32},
        svd::CompressOptions{svd::TileMode::tile, 50, {Kind::keep, 0.8}, Codec::f32},
        svd::CompressOptions{svd::TileMode::tile, 50, {Kind::keep, 0.8}, Codec::f32, kernels::Structure::low_rank},
        svd::CompressOptions{svd::TileMode::full, 1, {Kind::topk, 0.3}, Codec::f32}}) {
    const TinyCheckpoint files({.attention_bias = true});
    compress_all(files, options);
    const svd::FactorArchive archive(files.archive_path());
    Queue<Device::cpu> queue(1);
    Llama<Device::cpu> llama({*files, &archive, DType::f32}, files.world(), queue);
    ReferenceLlama reference(*files);
    rebuild(reference, archive);
    const std::vector<int> ids = some_ids(40);
    const std::vector<float> losses = window(llama, ids);
    const std::vector<double> expected = reference.losses(ids);
    for (std::size_t t = 0; t < losses.size(); ++t) EXPECT_NEAR(losses[t], expected[t], 2e-5);
  }
}

TEST(WindowLosses, AreTheSameBitsForEveryNumberOfCopies) {
  const TinyCheckpoint files({});
  Queue<Device::cpu> queue(1);
  const std::vector<int> ids = some_ids(230);
  const WindowPlan plan = plan_windows(find_protocol("hack"), 230, 40, {}, {});
  const comm::Communicator self = comm::Communicator::self();
  const comm::ProcessGrid alone(self, 1);
  Llama<Device::cpu> one({*files, nullptr, DType::f32}, alone.tensor(), queue);
  const auto expected = window_losses(one, alone, ids, plan);

  const comm::ProcessGrid copies(files.world(), 1);
  Llama<Device::cpu> mine({*files, nullptr, DType::f32}, copies.tensor(), queue);
  const auto losses = window_losses(mine, copies, ids, plan);
  if (files.world().is_root()) {
    EXPECT_EQ(losses, expected);
  } else {
    EXPECT_TRUE(losses.empty());
  }
}

TEST(WindowLosses, OfKnownWindowsAreNotComputed) {
  const TinyCheckpoint files({});
  Queue<Device::cpu> queue(1);
  const std::vector<int> ids = some_ids(230);
  const WindowPlan plan = plan_windows(find_protocol("hack"), 230, 40, {}, {});
  const comm::ProcessGrid copies(files.world(), 1);
  Llama<Device::cpu> llama({*files, nullptr, DType::f32}, copies.tensor(), queue);
  WindowLosses known(plan.windows.size());
  for (const std::size_t w : {1u, 2u, 5u}) known[w].assign(plan.windows[w].scored(), -1.0f);
  std::vector<index_t> heard;
  const auto hear = [&](index_t window, std::span<const float> l) {
    heard.push_back(window);
    EXPECT_EQ(std::ssize(l), plan.windows[window].scored());
  };
  const auto losses = window_losses(llama, copies, ids, plan, {.known = known, .on_window = hear});
  if (!files.world().is_root()) return;
  std::sort(heard.begin(), heard.end());
  EXPECT_EQ(heard, (std::vector<index_t>{0, 3, 4}));
  for (std::size_t w = 0; w < losses.size(); ++w) {
    if (known[w].empty()) {
      EXPECT_GT(losses[w].front(), 0);
    } else {
      EXPECT_EQ(losses[w], known[w]);
    }
  }
}

TEST(Generate, ContinuesLikeTheReferenceAndAlikeOnAllRanks) {
  const TinyCheckpoint files({});
  Queue<Device::cpu> queue(1);
  Llama<Device::cpu> llama({*files, nullptr, DType::f32}, files.world(), queue);
  Sampler greedy({});
  const std::vector<int> prompt = some_ids(7);
  const Generated generated = generate(llama, std::span<const int>(prompt), {12, {}}, greedy, [](int) { return true; });
  ASSERT_EQ(generated.ids.size(), 12u);
  const ReferenceLlama reference(*files);
  std::vector<int> ids = prompt;
  for (int id : generated.ids) {
    const std::vector<double> logits = reference.logits(ids).back();
    EXPECT_EQ(id, std::max_element(logits.begin(), logits.end()) - logits.begin());
    ids.push_back(id);
  }
  Sampler again({});
  const Generated stopped =
      generate(llama, std::span<const int>(prompt), {12, {generated.ids[2]}}, again, [](int) { return true; });
  EXPECT_LE(stopped.ids.size(), 2u) << "without the id that ended it";
}

TEST(Llama, RefusesIdsOutsideTheVocabulary) {
  const TinyCheckpoint files({});
  Queue<Device::cpu> queue(1);
  Llama<Device::cpu> llama({*files, nullptr, DType::f32}, files.world(), queue);
  KvCache<Device::cpu> cache = llama.make_cache(4);
  EXPECT_THROW(llama.forward(std::vector<int>{263}, cache), Error);
}

}  // namespace
}  // namespace hack::model
