// Sums of outer products against the same sums in double.

#include "kernels/gram.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace hack::kernels {
namespace {

std::vector<float> random_numbers(index_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& number : x) number = normal(random);
  return x;
}

struct Sizes {
  index_t tokens, m, n;
};

class Gram : public ::testing::TestWithParam<Sizes> {};

TEST_P(Gram, SumsOuterProductsOverCalls) {
  const auto [tokens, m, n] = GetParam();
  const std::vector<float> a = random_numbers(2 * tokens * m, 1);
  const std::vector<float> b = random_numbers(2 * tokens * n, 2);
  for (const int threads : {1, 3}) {
    Queue<Device::cpu> queue(threads);
    std::vector<double> sum(static_cast<std::size_t>(m * n), 1.0);
    for (index_t call = 0; call < 2; ++call) {
      add_outer_products<Device::cpu>(queue, MatrixView<const float>(a.data() + call * tokens * m, tokens, m),
                                      MatrixView<const float>(b.data() + call * tokens * n, tokens, n),
                                      MatrixView<double>(sum.data(), m, n));
    }
    // f32 products summed over the tokens of a call: tokens · eps · |a||b|, numbers of order 1.
    const double tolerance = 1.2e-7 * static_cast<double>(4 * tokens + 4);
    for (index_t i = 0; i < m; ++i) {
      for (index_t j = 0; j < n; ++j) {
        double expected = 1;
        for (index_t t = 0; t < 2 * tokens; ++t) {
          expected +=
              static_cast<double>(a[static_cast<std::size_t>(t * m + i)]) * b[static_cast<std::size_t>(t * n + j)];
        }
        ASSERT_NEAR(sum[static_cast<std::size_t>(i * n + j)], expected, tolerance) << i << " " << j;
      }
    }
  }
}

TEST_P(Gram, OfOneMatrixIsTheLowerTriangle) {
  const auto [tokens, m, n] = GetParam();
  const std::vector<float> x = random_numbers(tokens * n, 3);
  const MatrixView<const float> view(x.data(), tokens, n);
  Queue<Device::cpu> one(1), three(3);
  std::vector<double> whole(static_cast<std::size_t>(n * n), 0.0), lower = whole, again = whole;
  add_outer_products<Device::cpu>(one, view, view, MatrixView<double>(whole.data(), n, n));
  add_gram<Device::cpu>(one, view, MatrixView<double>(lower.data(), n, n));
  add_gram<Device::cpu>(three, view, MatrixView<double>(again.data(), n, n));
  for (index_t i = 0; i < n; ++i) {
    for (index_t j = 0; j <= i; ++j) {
      const auto at = static_cast<std::size_t>(i * n + j);
      ASSERT_EQ(lower[at], whole[at]);
      ASSERT_EQ(lower[at], again[at]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Gram,
                         ::testing::Values(Sizes{1, 1, 1}, Sizes{7, 5, 3}, Sizes{33, 200, 130}, Sizes{5, 193, 401}),
                         [](const auto& sizes) {
                           const Sizes& s = sizes.param;
                           return "t" + std::to_string(s.tokens) + "m" + std::to_string(s.m) + "n" +
                                  std::to_string(s.n);
                         });

TEST(Gram, OfNoTokensChangesNothing) {
  Queue<Device::cpu> queue(2);
  double sum = 4;
  add_gram<Device::cpu>(queue, MatrixView<const float>(nullptr, 0, 1), MatrixView<double>(&sum, 1, 1));
  EXPECT_EQ(sum, 4);
}

}  // namespace
}  // namespace hack::kernels
