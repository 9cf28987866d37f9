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
  EXPECT_NEAR(summary.maximum, expected[1], 1e-6);
  // Sorted: 0.5, 0.4, 0.3, 0.2, 0.1. Place 0.9 · 4 = 3.6 lies between the last two.
  EXPECT_NEAR(summary.quantile_90, 0.4 * expected[4] + 0.6 * expected[1], 1e-6);
  EXPECT_NEAR(summary.quantile_999, 0.004 * expected[4] + 0.996 * expected[1], 1e-6);
  EXPECT_DOUBLE_EQ(summary.same_top.value, 0.6);
  EXPECT_NEAR(summary.same_top.standard_error, std::sqrt(0.6 * 0.4 / 4), 1e-12);
  // Differences 0.5, 0, 0, 0, 1: mean 0.3, squared deviations 0.8 together.
  EXPECT_NEAR(summary.ln_perplexity.value, 0.3, 1e-7);
  EXPECT_NEAR(summary.ln_perplexity.standard_error, std::sqrt(0.8 / 4 / 5), 1e-7);
}

TEST(DivergenceSummary, OfNothing) {
  const DivergenceSummary summary = TokenDivergences().summary({}, {});
  EXPECT_EQ(summary.mean.value, 0);
  EXPECT_EQ(summary.maximum, 0);
  EXPECT_EQ(summary.ln_perplexity.standard_error, 0);
}

}  // namespace
}  // namespace hack::model
