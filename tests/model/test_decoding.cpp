// Decoding with tokens rounded to int8 against exact products, on a real model (HACK_TEST_MODEL).

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numeric>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "kernels/cpu/linear/int8_dot.hpp"
#include "model/llama/llama.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::model {
namespace {

/// A model and what it has read.
class Decoding {
 public:
  Decoding(const Checkpoint& checkpoint, index_t tokens, Products products)
      : queue_(1, products), llama_({checkpoint, nullptr, {}}, world_, queue_), cache_(llama_.make_cache(tokens)) {}

  /// ln p of every token that may follow.
  std::vector<double> next(int id) {
    const std::vector<float> logits = llama_.logits(llama_.forward({&id, 1}, cache_));
    const double largest = *std::max_element(logits.begin(), logits.end());
    const double sum = std::accumulate(logits.begin(), logits.end(), 0.0,
                                       [&](double so_far, float x) { return so_far + std::exp(x - largest); });
    std::vector<double> out;
    for (const float x : logits) out.push_back(x - largest - std::log(sum));
    return out;
  }

 private:
  comm::Communicator world_ = comm::Communicator::self();
  Queue<Device::cpu> queue_;
  Llama<Device::cpu> llama_;
  KvCache<Device::cpu> cache_;
};

double divergence(const std::vector<double>& from, const std::vector<double>& of) {
  double sum = 0;
  for (std::size_t v = 0; v < from.size(); ++v) sum += std::exp(from[v]) * (from[v] - of[v]);
  return sum;
}

TEST(Decoding, WithRoundedTokensHardlyDivergesFromExactProducts) {
  const char* const path = std::getenv("HACK_TEST_MODEL");
  if (path == nullptr) GTEST_SKIP() << "HACK_TEST_MODEL is not set (the path of SmolLM2-135M-Instruct)";
  if (!kernels::has_int8_dot(Codec::q4_1)) GTEST_SKIP() << "this CPU multiplies no bytes";
  const auto checkpoint = Checkpoint::open(path);
  const std::string text = testing::read_file(std::filesystem::path(HACK_SOURCE_DIR) / "tests/data/lighthouse.txt");
  std::vector<int> ids = checkpoint->tokenizer().encode(text, AddSpecial::no);
  constexpr index_t tokens = 128;
  ASSERT_GE(std::ssize(ids), tokens);
  ids.resize(tokens);
  Decoding exact(*checkpoint, tokens, Products::exact), rounded(*checkpoint, tokens, Products::fast);
  double sum = 0;
  for (const int id : ids) sum += divergence(exact.next(id), rounded.next(id));
  const double mean = sum / static_cast<double>(tokens);
  fmt::print("mean divergence {:.6f} nats a token\n", mean);
  EXPECT_GT(mean, 0) << "nothing was rounded";
  EXPECT_LT(mean, 0.002);
}

}  // namespace
}  // namespace hack::model
