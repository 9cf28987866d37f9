#include "kernels/elementwise.hpp"

#include <gtest/gtest.h>

#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::eps;
using tests::random_floats;
using tests::RandomWeights;
using tests::view_of;

constexpr index_t odd_sizes[] = {1, 3, 17, 63, 64, 65, 127, 128, 129, 300};

TEST(Add, AddsRowsOfViews) {
  for (int threads : {1, 3}) {
    Queue<Device::cpu> queue(threads);
    const std::vector<float> x = random_floats(40 * 300, 1);
    std::vector<float> y = random_floats(40 * 300, 2);
    const std::vector<float> before = y;
    add<Device::cpu>(queue, {x.data(), 40, 299, 300}, {y.data(), 40, 299, 300});
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], i % 300 == 299 ? before[i] : before[i] + x[i]);
  }
}

TEST(RmsNorm, MatchesTheFormulaInF64) {
  for (index_t n : odd_sizes) {
    const index_t tokens = 33;
    const std::vector<float> x = random_floats(tokens * n, 1);
    const std::vector<float> weight = random_floats(n, 2);
    std::vector<float> y(x.size());
    Queue<Device::cpu> one(1);
    rms_norm<Device::cpu>(one, view_of(x, tokens, n), weight.data(), 1e-5f, view_of(y, tokens, n));
    for (index_t t = 0; t < tokens; ++t) {
      double squares = 0;
      for (index_t i = 0; i < n; ++i) squares += double{x[t * n + i]} * x[t * n + i];
      const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
      for (index_t i = 0; i < n; ++i) {
        const double expected = x[t * n + i] * scale * weight[i];
        // All terms are positive: the mean is off by at most n/2 eps (its root by half of that), and 6 roundings
        // follow.
        ASSERT_NEAR(y[t * n + i], expected, (static_cast<double>(n) / 4 + 6) * eps * std::fabs(expected));
      }
    }
    for (int threads : {2, 3}) {
      Queue<Device::cpu> queue(threads);
      std::vector<float> in_place = x;
      rms_norm<Device::cpu>(queue, view_of(in_place, tokens, n), weight.data(), 1e-5f, view_of(in_place, tokens, n));
      ASSERT_EQ(in_place, y);
    }
  }
}

TEST(Swiglu, MatchesTheFormulaInF64) {
  for (index_t n : odd_sizes) {
    const index_t tokens = 41;
    const std::vector<float> up = random_floats(tokens * n, 1);
    std::vector<float> gate = random_floats(tokens * n, 2);
    for (float& a : gate) a *= 30;  // where exp is tiny and where it is huge
    const std::vector<float> before = gate;
    Queue<Device::cpu> one(1);
    swiglu<Device::cpu>(one, view_of(up, tokens, n), view_of(gate, tokens, n));
    for (std::size_t i = 0; i < gate.size(); ++i) {
      const double a = before[i];
      const double expected = a / (1 + std::exp(-a)) * up[i];
      ASSERT_NEAR(gate[i], expected, 6 * eps * std::fabs(expected) + 1e-37) << a;  // exp 2, sum, quotient, product
    }
    for (int threads : {2, 3}) {
      Queue<Device::cpu> queue(threads);
      std::vector<float> again = before;
      swiglu<Device::cpu>(queue, view_of(up, tokens, n), view_of(again, tokens, n));
      ASSERT_EQ(again, gate);
    }
  }
}

TEST(Swiglu, StandsExtremesAndKeepsNan) {
  Queue<Device::cpu> queue(1);
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> gate = {-1e30f, -200, -95, 200, 1e30f, std::nanf(""), infinity};
  const std::vector<float> up(gate.size(), 1.0f);
  swiglu<Device::cpu>(queue, view_of(up, 1, 7), view_of(gate, 1, 7));
  for (int i : {0, 1, 2}) EXPECT_NEAR(gate[i], 0, 1e-37);
  EXPECT_EQ(gate[3], 200);
  EXPECT_EQ(gate[4], 1e30f);
  EXPECT_TRUE(std::isnan(gate[5]));
  EXPECT_EQ(gate[6], infinity);
}

TEST(Rope, TurnsAHandComputedPair) {
  Queue<Device::cpu> queue(1);
  std::vector<float> x = {1, 2, 3, 4};
  const std::vector<float> frequencies = {1.0f, 0.5f};
  rope<Device::cpu>(queue, 4, 3, frequencies.data(), view_of(x, 1, 4));
  const double c0 = std::cos(3.0), s0 = std::sin(3.0), c1 = std::cos(1.5), s1 = std::sin(1.5);
  EXPECT_NEAR(x[0], 1 * c0 - 3 * s0, 4 * eps * 4);
  EXPECT_NEAR(x[2], 3 * c0 + 1 * s0, 4 * eps * 4);
  EXPECT_NEAR(x[1], 2 * c1 - 4 * s1, 4 * eps * 6);
  EXPECT_NEAR(x[3], 4 * c1 + 2 * s1, 4 * eps * 6);
}

TEST(Rope, TurnsEveryHeadByItsPositionFarOut) {
  const index_t heads = 5, dim = 18, tokens = 70, first = 131000;
  std::vector<float> frequencies(dim / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) frequencies[i] = std::pow(10000.0f, -2.0f * i / dim);
  const std::vector<float> before = random_floats(tokens * heads * dim, 1);
  std::vector<float> x = before;
  Queue<Device::cpu> one(1);
  rope<Device::cpu>(one, dim, first, frequencies.data(), view_of(x, tokens, heads * dim));
  for (index_t t = 0; t < tokens; ++t) {
    for (index_t h = 0; h < heads; ++h) {
      for (index_t i = 0; i < dim / 2; ++i) {
        const float angle = static_cast<float>(first + t) * frequencies[i];  // f32, as specified; the rest in f64
        const index_t low = (t * heads + h) * dim + i;
        const double a = before[low], b = before[low + dim / 2];
        ASSERT_NEAR(x[low], a * std::cos(double{angle}) - b * std::sin(double{angle}), 8 * eps);
        ASSERT_NEAR(x[low + dim / 2], b * std::cos(double{angle}) + a * std::sin(double{angle}), 8 * eps);
      }
    }
  }
  Queue<Device::cpu> three(3);
  std::vector<float> again = before;
  rope<Device::cpu>(three, dim, first, frequencies.data(), view_of(again, tokens, heads * dim));
  EXPECT_EQ(again, x);
}

TEST(Embed, CopiesRowsOfTheShardAndZerosTheRest) {
  for (DType type : tests::all_types) {
    const index_t hidden = 67;
    const RandomWeights table(10, hidden, type, 1);
    const std::vector<int> ids = {5, 14, 4, 15, 9};
    std::vector<float> out(ids.size() * hidden, 9.0f);
    Queue<Device::cpu> queue(2);
    embed<Device::cpu>(queue, ids, table.view, 5, view_of(out, 5, hidden));
    for (index_t i = 0; i < hidden; ++i) {
      EXPECT_EQ(out[i], table.values[i]);
      EXPECT_EQ(out[hidden + i], table.values[9 * hidden + i]);
      EXPECT_EQ(out[2 * hidden + i], 0);
      EXPECT_EQ(out[3 * hidden + i], 0);
      EXPECT_EQ(out[4 * hidden + i], table.values[4 * hidden + i]);
    }
  }
}

}  // namespace
}  // namespace hack::kernels
