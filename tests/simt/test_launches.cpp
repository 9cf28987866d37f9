// Launches of a decoded token and layer: each is a microsecond in which no weights are read. And what they compute, of
// a model whose rows are whole loads of 16 bytes: those of the other tests' tiny models are not.

#include <gtest/gtest.h>

#include "tests/gpu/device_data.hpp"
#include "tests/simt/decoded_token.hpp"
#include "tests/simt/emulator.hpp"

namespace hack::model {
namespace {

constexpr Device G = Device::cuda;

/// Launches of one token, behind others.
index_t launches_of_a_token(index_t layers, bool is_factored) {
  tests::TinyFiles files(tests::aligned_model(layers));
  if (is_factored) {
    files.compress({svd::TileMode::tile, 16, {svd::RankRule::Kind::topk, 0.25}, Codec::bf16}, "mlp.");
  }
  return tests::while_decoding(files, [](const auto& decode) {
    const index_t before = simt::launches;
    decode();
    return simt::launches - before;
  });
}

TEST(Launches, OfALayerAreFew) {
  // q, k, v with rotation and cache; attention and the join of its parts; o; sum and norm; gate and up; down; sum and
  // norm.
  EXPECT_EQ(launches_of_a_token(2, false) - launches_of_a_token(1, false), 8);
  // A product with tiles is one launch too: right and left rows of a run of tiles.
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
  testing::TinyModel tiny = tests::aligned_model(2);
  tiny.attention_bias = true;
  const tests::TinyFiles files(tiny);
  const std::vector<float> expected = states<Device::cpu>(files), found = states<G>(files);
  ASSERT_EQ(found.size(), expected.size());
  // Normed states are of order 1; sums of up to 256 terms in four matrices a layer.
  for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 2e-4) << i;
}

}  // namespace
}  // namespace hack::model
