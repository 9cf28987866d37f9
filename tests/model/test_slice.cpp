// One rank's share of a tensor-parallel job without the others: it is what that rank of the job has, and the shares of
// all ranks are the whole.

#include <cmath>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "model/llama/llama.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::model {
namespace {

using hack::testing::TemporaryDirectory;
using hack::testing::TinyModel;

class SliceTest : public ::testing::Test {
 protected:
  SliceTest() {
    tiny_.attention_bias = tiny_.mlp_bias = true;
    hack::testing::write_hf(tiny_, folder_ / "model");  // each rank its own: the same files
    checkpoint_ = Checkpoint::open((folder_ / "model").string());
  }

  WeightSource source() const { return {*checkpoint_, nullptr, DType::f32}; }
  Llama<Device::cpu> slice(int part, int parts) { return {source(), self_, queue_, {part, parts}}; }

  /// Bytes of f32 weights that the plan of a part says.
  index_t planned_bytes(int part, int parts) const {
    const LlamaConfig& c = checkpoint_->config();
    const ShardPlan plan = ShardPlan::make(c, nullptr, parts, part);
    const index_t heads = plan.heads.size() * c.head_dim, kv = plan.kv_heads.size() * c.head_dim;
    index_t numbers = 2 * plan.vocabulary.size() * c.hidden_size + c.hidden_size;
    for (const svd::Range& intermediate : plan.intermediate) {
      const index_t outputs_with_bias = heads + 2 * kv + 2 * intermediate.size();  // q, k, v, gate, up
      numbers += 2 * c.hidden_size + outputs_with_bias * (c.hidden_size + 1);
      numbers += c.hidden_size * (heads + intermediate.size() + (part == 0 ? 2 : 0));  // o, down
    }
    return numbers * static_cast<index_t>(sizeof(float));
  }

  /// A stream (tokens, hidden) that nothing in the model made.
  std::vector<float> some_stream(index_t tokens) const {
    std::vector<float> x(static_cast<std::size_t>(tokens * tiny_.hidden));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % 101) / 101 - 0.5f;
    return x;
  }

  /// What attention (first) and MLP (second) of layer 1 add to the stream, in one part.
  std::pair<std::vector<float>, std::vector<float>> added(int part, int parts, index_t tokens) {
    const LlamaConfig& c = checkpoint_->config();
    const ShardPlan plan = ShardPlan::make(c, nullptr, parts, part);
    const LlamaLayer<Device::cpu> layer = read_layer<Device::cpu>(source(), plan, 1, part == 0);
    LayerRunner<Device::cpu> runner(c, self_, queue_);
    KvCache<Device::cpu> cache(c.layers, plan.kv_heads.size(), tokens, c.head_dim);
    const std::vector<float> before = some_stream(tokens);
    std::vector<float> attention = before, mlp = before;
    const MatrixView<const float> x(before.data(), tokens, c.hidden_size);
    const auto mixed = runner.attention_mix(layer, runner.attention_input(layer, x), plan.kv_of_head, 0, cache.keys(1),
                                            cache.values(1));
    runner.add_attention(layer, mixed, {attention.data(), tokens, c.hidden_size});
    const auto inner = runner.mlp_inner(layer, runner.mlp_input(layer, x));
    runner.add_mlp(layer, inner, {mlp.data(), tokens, c.hidden_size});
    for (std::size_t i = 0; i < before.size(); ++i) attention[i] -= before[i], mlp[i] -= before[i];
    return {attention, mlp};
  }

  TinyModel tiny_;
  TemporaryDirectory folder_;
  std::unique_ptr<Checkpoint> checkpoint_;
  const comm::Communicator self_ = comm::Communicator::self();
  Queue<Device::cpu> queue_{1};
};

void add(std::vector<float>& sum, const std::vector<float>& part) {
  sum.resize(part.size());
  for (std::size_t i = 0; i < part.size(); ++i) sum[i] += part[i];
}

void expect_near(const std::vector<float>& sum, const std::vector<float>& whole) {
  ASSERT_EQ(sum.size(), whole.size());
  // Sums of some hundred products of order 1 / 10, in another order.
  for (std::size_t i = 0; i < sum.size(); ++i) EXPECT_NEAR(sum[i], whole[i], 1e-5) << i;
}

TEST_F(SliceTest, HoldsWhatThatRankOfTheJobHolds) {
  const comm::Communicator world = comm::Communicator::world();
  Llama<Device::cpu> shared(source(), world, queue_);
  Llama<Device::cpu> alone = slice(world.rank(), world.size());
  EXPECT_EQ(alone.bytes_held(), shared.bytes_held());
  EXPECT_EQ(alone.bytes_per_token(), shared.bytes_per_token());
  EXPECT_EQ(alone.plan().kv_of_head, shared.plan().kv_of_head);
}

TEST_F(SliceTest, HoldsTheBytesOfItsPlan) {
  for (const int parts : {1, 2, 3, 5, 7}) {
    for (int part = 0; part < parts; ++part)
      EXPECT_EQ(slice(part, parts).bytes_held(), planned_bytes(part, parts)) << part << "/" << parts;
  }
}

TEST_F(SliceTest, SlicesTogetherHoldEveryWeightOnce) {
  // Five key/value heads: in five parts none is held twice. Norms are everybody's.
  const index_t norms = (2 * tiny_.layers + 1) * tiny_.hidden * static_cast<index_t>(sizeof(float));
  index_t sum = norms;
  for (int part = 0; part < 5; ++part) sum += slice(part, 5).bytes_held() - norms;
  EXPECT_EQ(sum, slice(0, 1).bytes_held());
}

TEST_F(SliceTest, WhatSlicesAddIsWhatTheWholeAdds) {
  constexpr index_t tokens = 9;
  const auto [attention, mlp] = added(0, 1, tokens);
  for (const int parts : {2, 3, 4, 11}) {
    std::vector<float> attentions, mlps;
    for (int part = 0; part < parts; ++part) {
      const auto [one_attention, one_mlp] = added(part, parts, tokens);
      add(attentions, one_attention);
      add(mlps, one_mlp);
    }
    expect_near(attentions, attention);
    expect_near(mlps, mlp);
  }
}

TEST_F(SliceTest, RunsByItself) {
  Llama<Device::cpu> llama = slice(2, 3);
  KvCache<Device::cpu> cache = llama.make_cache(4);
  const std::vector<int> ids = {static_cast<int>(llama.plan().vocabulary.begin), 0, 5, 262};
  const auto states = llama.forward(ids, cache);
  for (index_t i = 0; i < 4 * tiny_.hidden; ++i) EXPECT_TRUE(std::isfinite(states.data[i]));
  EXPECT_EQ(std::ssize(llama.logits(states.rows_from(3, 1))), llama.plan().vocabulary.size());
}

}  // namespace
}  // namespace hack::model
