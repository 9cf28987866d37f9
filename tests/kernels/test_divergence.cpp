// Divergences of next-token distributions against their definition in double.

#include "kernels/divergence.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace hack::kernels {
namespace {

std::vector<double> log_softmax(const float* state, const std::vector<float>& head, index_t vocabulary,
                                index_t hidden) {
  std::vector<double> logits;
  for (index_t i = 0; i < vocabulary; ++i) {
    double sum = 0;
    for (index_t p = 0; p < hidden; ++p)
      sum += static_cast<double>(head[static_cast<std::size_t>(i * hidden + p)]) * state[p];
    logits.push_back(sum);
  }
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - largest);
  for (double& logit : logits) logit -= largest + std::log(sum);
  return logits;
}

TEST(Divergence, MeetsItsDefinition) {
  constexpr index_t tokens = 70, variants = 2, hidden = 9, vocabulary = 901;  // more than one block of each
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> reference(tokens * hidden), states(variants * tokens * hidden), head(vocabulary * hidden);
  for (auto* numbers : {&reference, &states, &head}) {
    for (float& number : *numbers) number = normal(random);
  }
  std::copy_n(reference.begin(), 5 * hidden, states.begin());  // these tokens diverge by nothing
  std::vector<double> first;
  for (const int threads : {1, 3}) {
    Queue<Device::cpu> queue(threads);
    std::vector<double> out(variants * tokens);
    divergences<Device::cpu>(queue, MatrixView<const float>(reference.data(), tokens, hidden),
                             MatrixView<const float>(states.data(), variants * tokens, hidden),
                             WeightView<>{head.data(), DType::f32, vocabulary, hidden, hidden}, out);
    for (index_t s = 0; s < variants * tokens; ++s) {
      const std::vector<double> p = log_softmax(reference.data() + s % tokens * hidden, head, vocabulary, hidden);
      const std::vector<double> q = log_softmax(states.data() + s * hidden, head, vocabulary, hidden);
      double expected = 0;
      for (index_t i = 0; i < vocabulary; ++i) expected += std::exp(p[i]) * (p[i] - q[i]);
      // Logits of order 10 in f32 err by 9 · eps · 10, exponentials by as much relatively.
      ASSERT_NEAR(out[s], expected, 4e-5 * std::max(1.0, expected)) << s;
      if (s < 5) {
        ASSERT_NEAR(out[s], 0, 1e-6);
      }
    }
    if (first.empty()) first = out;
    EXPECT_EQ(out, first);
  }
}

}  // namespace
}  // namespace hack::kernels
