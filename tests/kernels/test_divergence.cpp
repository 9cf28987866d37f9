// Divergences of next-token distributions against their definition in double.

#include "kernels/divergence.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <tuple>
#include <vector>

#include "tests/kernels/random_factors.hpp"

namespace hack::kernels {
namespace {

using tests::RandomFactors;

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
    const AffineView<Device::cpu> dense{{head.data(), Codec::f32, vocabulary, hidden, hidden}};
    divergences<Device::cpu>(queue, {{reference.data(), tokens, hidden}, dense},
                             {{states.data(), variants * tokens, hidden}, dense}, out);
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

TEST(Divergence, SlicesOfTheVocabularyJoin) {
  constexpr index_t tokens = 5, hidden = 9, vocabulary = 901;
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  std::vector<float> reference(tokens * hidden), states(tokens * hidden), head(vocabulary * hidden);
  for (auto* numbers : {&reference, &states, &head}) {
    for (float& number : *numbers) number = normal(random);
  }
  Queue<Device::cpu> queue(1);
  const MatrixView<const float> l(reference.data(), tokens, hidden), m(states.data(), tokens, hidden);
  const WeightView<> whole{head.data(), Codec::f32, vocabulary, hidden, hidden};
  std::vector<double> expected(tokens);
  divergences<Device::cpu>(queue, {l, {whole}}, {m, {whole}}, expected);
  std::vector<PartialDivergence> parts(tokens), joined(tokens);
  const AffineView<Device::cpu> none{whole.rows_from(0, 0)};  // a slice may be empty
  partial_divergences<Device::cpu>(queue, {l, none}, {m, none}, std::span(joined));
  for (const auto& [first, rows] : {std::pair<index_t, index_t>{0, 77}, {77, 600}, {677, 224}}) {
    const AffineView<Device::cpu> slice{whole.rows_from(first, rows)};
    partial_divergences<Device::cpu>(queue, {l, slice}, {m, slice}, std::span(parts));
    for (std::size_t t = 0; t < parts.size(); ++t) joined[t] = join(joined[t], parts[t]);
  }
  partial_divergences<Device::cpu>(queue, {l, {whole}}, {m, {whole}}, std::span(parts));
  for (std::size_t t = 0; t < parts.size(); ++t) {
    // The sums of exponentials come together in another order: some eps of f32.
    EXPECT_NEAR(divergence(joined[t]), expected[t], 1e-5 * expected[t]);
    EXPECT_EQ(joined[t].at_top, parts[t].at_top);
    EXPECT_EQ(joined[t].maximum, parts[t].maximum);
  }
}

TEST(Divergence, KnowsWhetherBothExpectTheSameToken) {
  constexpr index_t tokens = 90, hidden = 9, vocabulary = 1100;
  std::vector<float> reference = tests::random_floats(tokens * hidden, 9), states = reference;
  const std::vector<float> noise = tests::random_floats(tokens * hidden, 10);
  for (std::size_t i = 0; i < states.size(); ++i) states[i] += 0.3f * noise[i];
  const std::vector<float> head = tests::random_floats(vocabulary * hidden, 11);
  Queue<Device::cpu> queue(2);
  const AffineView<Device::cpu> dense{{head.data(), Codec::f32, vocabulary, hidden, hidden}};
  std::vector<PartialDivergence> whole(tokens);
  partial_divergences<Device::cpu>(queue, {{reference.data(), tokens, hidden}, dense},
                                   {{states.data(), tokens, hidden}, dense}, std::span(whole));
  const auto best = [&](const std::vector<float>& of, index_t t) {
    const std::vector<double> p = log_softmax(of.data() + t * hidden, head, vocabulary, hidden);
    return std::max_element(p.begin(), p.end()) - p.begin();
  };
  index_t same = 0;
  for (index_t t = 0; t < tokens; ++t) {
    const bool expected = best(reference, t) == best(states, t);
    EXPECT_EQ(has_same_top(whole[static_cast<std::size_t>(t)]), expected) << t;
    same += expected ? 1 : 0;
  }
  EXPECT_GT(same, tokens / 4);
  EXPECT_LT(same, tokens);
}

/// Against the dense head that the factors are of. The model's own head may be another than the reference's.
TEST(Divergence, TakesAHeadOfFactors) {
  constexpr index_t tokens = 70, hidden = 40, vocabulary = 901;
  const RandomFactors factors(vocabulary, hidden, 32, DType::f32, tests::every_form);
  const std::vector<float> other = tests::random_floats(vocabulary * hidden, 4);
  const std::vector<float> reference = tests::random_floats(tokens * hidden, 5);
  const std::vector<float> states = tests::random_floats(2 * tokens * hidden, 6);
  const AffineView<Device::cpu> dense{{other.data(), Codec::f32, vocabulary, hidden, hidden}};
  const AffineView<Device::cpu> rebuilt{{factors.matrix.data(), Codec::f32, vocabulary, hidden, hidden}};
  const AffineView<Device::cpu> factored{{}, {&factors.view, 1}};
  const MatrixView<const float> l(reference.data(), tokens, hidden), m(states.data(), 2 * tokens, hidden);
  Queue<Device::cpu> queue(2);
  for (const auto& [of_reference, of_model, twin_of_reference, twin_of_model] :
       {std::tuple{&dense, &factored, &dense, &rebuilt}, std::tuple{&factored, &factored, &rebuilt, &rebuilt}}) {
    std::vector<double> actual(2 * tokens), expected(2 * tokens);
    divergences<Device::cpu>(queue, {l, *of_reference}, {m, *of_model}, actual);
    divergences<Device::cpu>(queue, {l, *twin_of_reference}, {m, *twin_of_model}, expected);
    for (std::size_t s = 0; s < actual.size(); ++s) ASSERT_NEAR(actual[s], expected[s], 1e-4 * (1 + expected[s])) << s;
  }
}

}  // namespace
}  // namespace hack::kernels
