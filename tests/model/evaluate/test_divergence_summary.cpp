// The summary of divergences against sums written out.

#include "model/evaluate/divergence_summary.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace hack::model {
namespace {

/// Two ids of equal probability in the reference; in the model the first has probability p.
kernels::PartialDivergence two_ids(double p) {
  const double q = 1 - p;
  const auto top = static_cast<float>(std::log(std::max(p, q)));
  return {.reference_maximum = 0,
          .maximum = top,
          .at_top = p < 0.25 ? top - 1 : top,  // as if a third id were the model's favourite
          .reference_sum = 2,
          .sum = 1 / std::max(p, q),
          .gap = -std::log(p) - std::log(q)};
}

TEST(DivergenceSummary, OfTokens) {
  TokenDivergences tokens;
  std::vector<double> expected;
  for (const double p : {0.5, 0.1, 0.3, 0.4, 0.2}) {
    tokens.add(two_ids(p));
    expected.push_back(-0.5 * std::log(4 * p * (1 - p)));
  }
  const DivergenceSummary summary = tokens.summary({{1, 2}, {3, 4, 5}}, {{1.5f, 2}, {3, 4, 6}});
  EXPECT_NEAR(summary.mean.value, (expected[1] + expected[2] + expected[3] + expected[4]) / 5, 1e-6);
  EXPECT_NEAR(DivergenceSummary::at(summary.quantiles, 1), expected[1], 1e-6);
  // Sorted: 0.5, 0.4, 0.3, 0.2, 0.1. Place 0.9 · 4 = 3.6 lies between the last two.
  EXPECT_NEAR(DivergenceSummary::at(summary.quantiles, 0.9), 0.4 * expected[4] + 0.6 * expected[1], 1e-6);
  EXPECT_NEAR(DivergenceSummary::at(summary.quantiles, 0.999), 0.004 * expected[4] + 0.996 * expected[1], 1e-6);
  EXPECT_DOUBLE_EQ(summary.same_top.value, 0.6);
  EXPECT_NEAR(summary.same_top.standard_error, std::sqrt(0.6 * 0.4 / 4), 1e-12);
  // Differences 0.5, 0, 0, 0, 1: mean 0.3, squared deviations 0.8 together.
  EXPECT_NEAR(summary.ln_perplexity.value, 0.3, 1e-7);
  EXPECT_NEAR(summary.ln_perplexity.standard_error, std::sqrt(0.8 / 4 / 5), 1e-7);
}

TEST(DivergenceSummary, OfPerplexitiesAndProbabilities) {
  TokenDivergences tokens;
  for (const double divergence : {0.25, 0.5, 0.125}) tokens.add(divergence, true);
  const std::vector<double> base = {1, 2, 4}, model = {1.5, 2, 5};
  const DivergenceSummary summary = tokens.summary({{1, 2}, {4}}, {{1.5f, 2}, {5}});
  EXPECT_DOUBLE_EQ(DivergenceSummary::at(summary.quantiles, 0.5), 0.25);
  EXPECT_DOUBLE_EQ(DivergenceSummary::at(summary.quantiles, 0), 0.125);
  EXPECT_NEAR(summary.reference_perplexity.value, std::exp(7.0 / 3), 1e-9);
  EXPECT_NEAR(summary.perplexity_ratio.value, std::exp(0.5), 1e-9);
  EXPECT_NEAR(summary.perplexity_difference.value, std::exp(8.5 / 3) - std::exp(7.0 / 3), 1e-9);
  // Deviations of the losses: -4/3, -1/3, 5/3 and -4/3, -5/6, 13/6.
  const double squares_a = (16 + 1 + 25) / 9.0, squares_b = (64 + 25 + 169) / 36.0, products = (32 + 5 + 65) / 18.0;
  EXPECT_NEAR(summary.correlation, products / std::sqrt(squares_a * squares_b), 1e-9);
  double sum = 0, square = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const double step = std::exp(-model[i]) - std::exp(-base[i]);
    sum += step / 3;
    square += step * step / 3;
  }
  EXPECT_NEAR(summary.probability.value, sum, 1e-7);
  EXPECT_NEAR(summary.probability_rms.value, std::sqrt(square), 1e-7);
  EXPECT_NEAR(DivergenceSummary::at(summary.probability_quantiles, 1), 0, 1e-7);
  EXPECT_NEAR(DivergenceSummary::at(summary.probability_quantiles, 0), std::exp(-1.5) - std::exp(-1), 1e-7);
  // The error of a difference of perplexities that move together is that of e^a - e^b by its gradient.
  const double a = std::exp(8.5 / 3), b = std::exp(7.0 / 3);
  const double variance = (a * a * squares_b + b * b * squares_a - 2 * a * b * products) / (3 * 2);
  EXPECT_NEAR(summary.perplexity_difference.standard_error, std::sqrt(variance), 1e-9);
}

TEST(DivergenceSummary, OfNothing) {
  const DivergenceSummary summary = TokenDivergences().summary({}, {});
  EXPECT_EQ(summary.mean.value, 0);
  EXPECT_EQ(DivergenceSummary::at(summary.quantiles, 1), 0);
  EXPECT_EQ(summary.ln_perplexity.standard_error, 0);
}

}  // namespace
}  // namespace hack::model
