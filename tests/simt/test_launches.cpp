// Launches of a decoded token and layer: each is a microsecond in which no weights are read. And what they compute, of
// a model whose rows are whole loads of 16 bytes: those of the other tests' tiny models are not.

#include <gtest/gtest.h>

#include "model/llama/llama.hpp"
#include "tests/gpu/device_data.hpp"
#include "tests/gpu/tiny_files.hpp"
#include "tests/simt/emulator.hpp"

namespace hack::model {
namespace {

constexpr Device G = Device::cuda;

/// Large enough for all blocks of the emulated GPU.
testing::TinyModel model_of(index_t layers, bool has_bias) {
  testing::TinyModel tiny;
  tiny.hidden = 192;
  tiny.intermediate = 256;
  tiny.layers = layers;
  tiny.heads = 4;
  tiny.kv_heads = 2;
  tiny.head_dim = 16;
  tiny.attention_bias = has_bias;
  return tiny;
}

/// Launches of one token, behind another one.
index_t launches_of_a_token(index_t layers, bool is_factored) {
  tests::TinyFiles files(model_of(layers, false));
  if (is_factored) {
    files.compress({svd::TileMode::tile, 16, {svd::RankRule::Kind::topk, 0.25}, Codec::bf16}, "mlp.");
  }
  const comm::Communicator self = comm::Communicator::self();
  Queue<G> queue(1);
  Llama<G> llama(files.source(DType::bf16), self, queue);
  KvCache<G> cache = llama.make_cache(4);
  llama.forward(std::vector<int>{1, 2}, cache);
  const index_t before = simt::launches;
  llama.forward(std::vector<int>{3}, cache);
  return simt::launches - before;
}

TEST(Launches, OfALayerAreFew) {
  // q, k, v with rotation and cache; attention and the join of its parts; o; sum and norm; gate and up; down; sum and
  // norm.
  EXPECT_EQ(launches_of_a_token(2, false) - launches_of_a_token(1, false), 8);
  // Of tiles likewise: right and left rows of a run of tiles in one launch.
  EXPECT_EQ(launches_of_a_token(2, true) - launches_of_a_token(1, true), 8);
}

/// The last states after some tokens at once, and after one more.
template <Device D>
std::vector<float> states(const tests::TinyFiles& files) {
  const comm::Communicator self = comm::Communicator::self();
  Queue<D> queue(1);
  Llama<D> llama(files.source(DType::f32), self, queue);
  KvCache<D> cache = llama.make_cache(8);
  std::vector<float> all;
  for (const std::vector<int>& ids : {std::vector<int>{1, 2, 3}, std::vector<int>{4}}) {
    const MatrixView<const float, D> state = llama.forward(ids, cache);
    queue.wait();
    std::vector<float> row(static_cast<std::size_t>(state.cols));
    kernels::copy_to_host<D>(row.data(), state.row(state.rows - 1), row.size() * sizeof(float));
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

TEST(Launches, GiveWhatTheCpuGives) {
  const tests::TinyFiles files(model_of(2, true));
  const std::vector<float> expected = states<Device::cpu>(files), found = states<G>(files);
  ASSERT_EQ(found.size(), expected.size());
  // Normed states are of order 1; sums of up to 256 terms in four matrices a layer.
  for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 2e-4) << i;
}

}  // namespace
}  // namespace hack::model
