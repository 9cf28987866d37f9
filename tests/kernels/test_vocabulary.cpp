#include "kernels/vocabulary.hpp"

#include <gtest/gtest.h>

#include "tests/kernels/random_factors.hpp"

namespace hack::kernels {
namespace {

using tests::random_floats;
using tests::RandomWeights;
using tests::view_of;

std::vector<PartialLoss> run(int threads, const std::vector<float>& hidden, index_t tokens, WeightView<> head,
                             index_t first_id, std::span<const int> targets) {
  std::vector<PartialLoss> out(static_cast<std::size_t>(tokens));
  Queue<Device::cpu> queue(threads);
  partial_losses<Device::cpu>(queue, view_of(hidden, tokens, head.cols), {head}, first_id, targets, out);
  return out;
}

void expect_same_bits(std::span<const PartialLoss> a, std::span<const PartialLoss> b) {
  for (std::size_t t = 0; t < a.size(); ++t) {
    ASSERT_EQ(a[t].maximum, b[t].maximum) << t;
    ASSERT_EQ(a[t].sum, b[t].sum) << t;
    ASSERT_EQ(a[t].target_logit, b[t].target_logit) << t;
  }
}

/// Logits and the loss m + log s - logit against f64. A logit of k terms is off by at most k · eps · Σ |h w|; the loss
/// by twice that, by the relative error of the sum (exp 2 eps, ~24 lane additions, the merge) and by a few roundings of
/// m.
void check(index_t tokens, index_t vocabulary, index_t hidden_size, DType type) {
  SCOPED_TRACE(testing::Message() << tokens << " x " << vocabulary << " x " << hidden_size << to_string(type));
  const RandomWeights head(vocabulary, hidden_size, type, 1);
  const std::vector<float> hidden = random_floats(tokens * hidden_size, 2);
  const index_t first_id = 1000;
  std::vector<int> targets;
  for (index_t t = 0; t < tokens; ++t) targets.push_back(static_cast<int>(first_id + t * 7919 % vocabulary));
  const std::vector<PartialLoss> out = run(1, hidden, tokens, head.view, first_id, targets);
  for (index_t t = 0; t < tokens; t += 1 + tokens / 40) {
    std::vector<double> logits;
    double size = 0, largest = -1e300, sum = 0;
    for (index_t v = 0; v < vocabulary; ++v) {
      double logit = 0, terms = 0;
      for (index_t p = 0; p < hidden_size; ++p) {
        const double term = double{hidden[t * hidden_size + p]} * head.values[v * hidden_size + p];
        logit += term;
        terms += std::fabs(term);
      }
      logits.push_back(logit);
      largest = std::max(largest, logit);
      size = std::max(size, terms);
    }
    for (double logit : logits) sum += std::exp(logit - largest);
    const double target = logits[targets[t] - first_id];
    const double bound = static_cast<double>(hidden_size) * tests::eps * size;
    ASSERT_NEAR(out[t].target_logit, target, bound);
    ASSERT_NEAR(out[t].maximum, largest, bound);
    const double loss = out[t].maximum + std::log(double{out[t].sum}) - out[t].target_logit;
    ASSERT_NEAR(loss, largest + std::log(sum) - target, 2 * bound + 32 * tests::eps);
  }
  expect_same_bits(run(2, hidden, tokens, head.view, first_id, targets), out);
  expect_same_bits(run(3, hidden, tokens, head.view, first_id, targets), out);
}

TEST(PartialLosses, MatchNaiveSoftmax) {
  for (DType type : tests::all_types) {
    for (index_t vocabulary : {1, 3, 127, 384, 385, 1000}) {
      check(1, vocabulary, 65, type);
      check(17, vocabulary, 64, type);
    }
    check(300, 700, 129, type);
  }
}

/// What perplexity needs: rounding errors of a mean loss, on hidden states and weights of a model's size, below 2e-6.
TEST(PartialLosses, MeanLossIsAccurate) {
  const index_t tokens = 64, vocabulary = 5000, size = 576;
  const RandomWeights head(vocabulary, size, DType::bf16, 1);
  std::vector<float> hidden = random_floats(tokens * size, 2);
  for (float& x : hidden) x *= 0.5f;  // logits of a standard deviation of 4
  std::vector<int> targets(tokens);
  double difference = 0, total = 0;
  for (int t = 0; t < tokens; ++t) targets[t] = t * 61;
  const std::vector<PartialLoss> out = run(2, hidden, tokens, head.view, 0, targets);
  for (index_t t = 0; t < tokens; ++t) {
    double sum = 0, target = 0;
    for (index_t v = 0; v < vocabulary; ++v) {
      double logit = 0;
      for (index_t p = 0; p < size; ++p) logit += double{hidden[t * size + p]} * head.values[v * size + p];
      sum += std::exp(logit);
      if (v == targets[t]) target = logit;
    }
    const double loss = out[t].maximum + std::log(double{out[t].sum}) - out[t].target_logit;
    total += std::log(sum) - target;
    difference += loss - (std::log(sum) - target);
  }
  EXPECT_LT(std::fabs(difference) / total, 2e-6);
}

TEST(PartialLosses, BitsDoNotDependOnHowManyTokensAreGiven) {
  const index_t tokens = 300, size = 96;
  const RandomWeights head(900, size, DType::bf16, 1);
  const std::vector<float> hidden = random_floats(tokens * size, 2);
  const std::vector<int> targets(tokens, 17);
  const std::vector<PartialLoss> whole = run(2, hidden, tokens, head.view, 0, targets);
  for (index_t count : {1, 2, 9, 64, 257}) {
    const index_t first = tokens - count;
    const std::vector<float> some(hidden.begin() + first * size, hidden.end());
    expect_same_bits(run(1, some, count, head.view, 0, std::span(targets).first(count)),
                     std::span(whole).subspan(first));
  }
}

TEST(PartialLosses, SlicesOfTheVocabularyJoinToTheWhole) {
  const index_t size = 40, vocabulary = 1000, cut = 411;
  const RandomWeights head(vocabulary, size, DType::f32, 1);
  const std::vector<float> hidden = random_floats(2 * size, 2);
  const std::vector<int> targets = {410, 411};
  const auto whole = run(1, hidden, 2, head.view, 0, targets);
  const auto left = run(1, hidden, 2, head.view.rows_from(0, cut), 0, targets);
  const auto right = run(1, hidden, 2, head.view.rows_from(cut, vocabulary - cut), cut, targets);
  EXPECT_EQ(right[0].target_logit, 0);
  EXPECT_EQ(left[1].target_logit, 0);
  for (int t : {0, 1}) {
    EXPECT_EQ(whole[t].target_logit, left[t].target_logit + right[t].target_logit);
    const double m = std::max(left[t].maximum, right[t].maximum);
    EXPECT_EQ(whole[t].maximum, m);
    const double sum = left[t].sum * std::exp(left[t].maximum - m) + right[t].sum * std::exp(right[t].maximum - m);
    EXPECT_NEAR(whole[t].sum, sum, 32 * tests::eps * sum);
  }
}

TEST(PartialLosses, AnEmptySliceAddsNothing) {
  const std::vector<float> hidden = random_floats(3 * 4, 1);
  const std::vector<int> targets = {0, 1, 2};
  for (const PartialLoss& loss : run(2, hidden, 3, {nullptr, Codec::f32, 0, 4, 4}, 0, targets)) {
    EXPECT_EQ(loss.maximum, -std::numeric_limits<float>::infinity());
    EXPECT_EQ(loss.sum, 0);
    EXPECT_EQ(loss.target_logit, 0);
  }
}

/// Against the dense head that the factors are of.
TEST(PartialLosses, TakeAHeadOfFactors) {
  for (const index_t tokens : {1, 5, 300}) {
    const index_t size = 40, vocabulary = 901;
    const tests::RandomFactors factors(vocabulary, size, 32, DType::f32, tests::every_form);
    const std::vector<float> hidden = random_floats(tokens * size, 2);
    std::vector<int> targets;  // some of them outside this slice
    for (index_t t = 0; t < tokens; ++t) targets.push_back(static_cast<int>(t * 7919 % (vocabulary + 90)));
    const auto expected =
        run(1, hidden, tokens, {factors.matrix.data(), Codec::f32, vocabulary, size, size}, 50, targets);
    std::vector<PartialLoss> actual(static_cast<std::size_t>(tokens));
    Queue<Device::cpu> queue(2);
    partial_losses<Device::cpu>(queue, view_of(hidden, tokens, size), {{}, {&factors.view, 1}}, 50, targets, actual);
    for (std::size_t t = 0; t < actual.size(); ++t) {
      const double bound = 1e-5 * (1 + std::fabs(expected[t].maximum));
      ASSERT_NEAR(actual[t].maximum, expected[t].maximum, bound) << t;
      ASSERT_NEAR(actual[t].target_logit, expected[t].target_logit, bound) << t;
      ASSERT_NEAR(std::log(actual[t].sum), std::log(expected[t].sum), 2 * bound) << t;
    }
  }
}

}  // namespace
}  // namespace hack::kernels
