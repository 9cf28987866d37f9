// The whole forward pass on the GPU.

#include <gtest/gtest.h>

#include "model/generate.hpp"
#include "model/llama.hpp"
#include "svd/compress.hpp"
#include "tests/gpu/device_data.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::model {
namespace {

using hack::testing::TemporaryDirectory;
using hack::testing::TinyModel;

std::vector<int> some_ids(index_t n) {
  std::vector<int> ids(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) ids[static_cast<std::size_t>(i)] = static_cast<int>(i * 37 % 261);
  return ids;
}

/// Losses of a text: a prompt at once, two tokens, then token by token.
template <Device D>
std::vector<float> losses_of(const WeightSource& source, const std::vector<int>& ids) {
  const comm::Communicator self = comm::Communicator::self();
  Queue<D> queue(1);
  Llama<D> llama(source, self, queue);
  KvCache<D> cache = llama.make_cache(std::ssize(ids));
  std::vector<float> losses;
  const std::span<const int> all(ids);
  for (std::size_t first = 0, n = 12; first + 1 < all.size(); first += n, n = first < 14 ? 2 : 1) {
    const std::vector<float> part =
        llama.losses(llama.forward(all.subspan(first, n), cache), all.subspan(first + 1, n));
    losses.insert(losses.end(), part.begin(), part.end());
  }
  return losses;
}

void expect_twins(const WeightSource& source, double bound) {
  const std::vector<int> ids = some_ids(17);
  const std::vector<float> expected = losses_of<Device::cpu>(source, ids);
  const std::vector<float> actual = losses_of<Device::cuda>(source, ids);
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t t = 0; t < actual.size(); ++t) EXPECT_NEAR(actual[t], expected[t], bound) << "token " << t;
}

TEST(GpuLlama, LosesWhatTheCpuLoses) {
  const TemporaryDirectory folder;
  hack::testing::write_hf({.layers = 1, .attention_bias = true, .mlp_bias = true}, folder / "model");
  const auto checkpoint = Checkpoint::open((folder / "model").string());
  expect_twins({*checkpoint, nullptr, DType::f32}, 1e-5);
}

TEST(GpuLlama, LosesWhatTheCpuLosesInBf16) {
  const TemporaryDirectory folder;
  hack::testing::write_hf({.layers = 1, .tied = true, .dtype = DType::bf16}, folder / "model");
  const auto checkpoint = Checkpoint::open((folder / "model").string());
  // Twelve tokens at once go through products that leave out 2^-17 of x.
  expect_twins({*checkpoint, nullptr, DType::bf16}, 1e-4);
}

}  // namespace
}  // namespace hack::model
