#include "kernels/attention.hpp"

#include <gtest/gtest.h>

#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::random_floats;
using tests::view_of;

struct Problem {
  index_t tokens, first_position, dim;
  std::vector<int> kv_of_head;
  index_t kv_heads;
  index_t window = 0;
  float score_factor = 1;
  index_t capacity = first_position + tokens + 3;
  std::vector<float> q = random_floats(tokens * heads() * dim, 1);
  std::vector<float> keys = random_floats(kv_heads * capacity * dim, 2);
  std::vector<float> values = random_floats(kv_heads * capacity * dim, 3);

  index_t heads() const { return std::ssize(kv_of_head); }

  std::vector<float> run(int threads) {
    std::vector<float> out(q.size(), 5.0f);
    Queue<Device::cpu> queue(threads);
    attention<Device::cpu>(
        queue, view_of(q, tokens, heads() * dim), {keys.data(), kv_heads, capacity, dim, window, score_factor},
        {values.data(), kv_heads, capacity, dim}, kv_of_head, first_position, view_of(out, tokens, heads() * dim));
    return out;
  }

  /// Element i of token t and head h, in f64.
  std::vector<double> reference(index_t t, index_t h) const {
    const float* key = keys.data() + kv_of_head[h] * capacity * dim;
    const float* value = values.data() + kv_of_head[h] * capacity * dim;
    std::vector<double> weights, out(static_cast<std::size_t>(dim));
    double largest = -1e300, sum = 0;
    const index_t position = first_position + t, begin = window > 0 ? std::max<index_t>(0, position + 1 - window) : 0;
    for (index_t p = begin; p <= position; ++p) {
      double score = 0;
      for (index_t i = 0; i < dim; ++i) score += double{q[(t * heads() + h) * dim + i]} * key[p * dim + i];
      weights.push_back(score_factor * score / std::sqrt(static_cast<double>(dim)));
      largest = std::max(largest, weights.back());
    }
    for (double& weight : weights) sum += weight = std::exp(weight - largest);
    for (std::size_t p = 0; p < weights.size(); ++p) {
      for (index_t i = 0; i < dim; ++i) out[i] += weights[p] / sum * value[(begin + p) * dim + i];
    }
    return out;
  }

  /// The out is a mean of values within [-1, 1]. A score is off by (dim + 2) eps |q||k| / sqrt(dim) <= (dim + 2)
  /// sqrt(dim) eps at worst; random roundings add as roots, so an eighth of it holds amply. It moves a weight, and so
  /// the mean, by the same relative amount; the weighted sum of up to 2000 positions adds sqrt(2000) ≈ 45 eps.
  void check() {
    SCOPED_TRACE(testing::Message() << tokens << " tokens at " << first_position << ", dim " << dim);
    const std::vector<float> out = run(1);
    const double d = static_cast<double>(dim);
    const double bound = ((d + 2) * std::sqrt(d) / 8 + 45) * tests::eps;
    for (index_t t = 0; t < tokens; t += std::max<index_t>(1, tokens / 37)) {
      for (index_t h = 0; h < heads(); ++h) {
        const std::vector<double> expected = reference(t, h);
        for (index_t i = 0; i < dim; ++i) ASSERT_NEAR(out[(t * heads() + h) * dim + i], expected[i], bound) << t;
      }
    }
    EXPECT_EQ(run(2), out);
    EXPECT_EQ(run(3), out);
  }
};

TEST(Attention, MatchesNaiveSoftmaxInPrefill) {
  for (index_t tokens : {2, 3, 17, 65, 127, 128, 129, 300}) Problem{tokens, 0, 64, {0, 0, 1}, 2}.check();
  Problem{1100, 0, 32, {0, 1}, 2}.check();
}

TEST(Attention, MatchesNaiveSoftmaxAfterACache) {
  for (index_t first : {1, 63, 511, 512, 600, 1025}) {
    for (index_t tokens : {1, 2, 5, 130}) Problem{tokens, first, 48, {1, 0, 1, 0}, 2}.check();
  }
}

TEST(Attention, MatchesNaiveSoftmaxAtOddHeadSizes) {
  for (index_t dim : {2, 6, 18, 80, 128}) {
    Problem{33, 5, dim, {0}, 1}.check();
    Problem{1, 37, dim, {0}, 1}.check();
  }
}

TEST(Attention, SeesTheLastPositionsAlone) {
  for (index_t window : {1, 2, 100, 512, 513, 700, 5000}) {
    Problem{1, 1400, 24, {0, 1}, 2, window}.check();
    Problem{300, 0, 24, {0, 1}, 2, window}.check();
    Problem{131, 1100, 24, {1, 0}, 2, window, 1.25f}.check();
  }
}

TEST(Attention, FirstTokenIsItsOwnValue) {
  for (index_t tokens : {1, 4}) {
    Problem problem{tokens, 0, 16, {0}, 1};
    const std::vector<float> out = problem.run(1);
    for (index_t i = 0; i < 16; ++i) EXPECT_EQ(out[i], problem.values[i]);
  }
}

TEST(Attention, NeverReadsPositionsToCome) {
  for (index_t tokens : {1, 20}) {
    Problem problem{tokens, 500, 64, {0}, 1};
    for (index_t i = (500 + tokens) * 64; i < problem.capacity * 64; ++i) {
      problem.keys[i] = problem.values[i] = std::nanf("");
    }
    for (float x : problem.run(2)) ASSERT_TRUE(std::isfinite(x));
  }
}

TEST(Attention, StandsLargeScores) {
  Problem problem{40, 600, 64, {0}, 1};
  for (float& x : problem.q) x *= 1000;
  for (float x : problem.run(2)) ASSERT_TRUE(std::isfinite(x) && std::fabs(x) <= 1.0001f);
}

TEST(Attention, KeepsNan) {
  Problem problem{3, 2, 16, {0}, 1};
  problem.keys[0] = std::nanf("");
  for (float x : problem.run(1)) EXPECT_TRUE(std::isnan(x));
}

TEST(AppendToCache, PutsHeadsAfterHeads) {
  const index_t heads = 2, capacity = 5, dim = 3;
  std::vector<float> data(heads * capacity * dim, -1.0f);
  const std::vector<float> rows = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};  // (2, heads * dim)
  Queue<Device::cpu> queue(2);
  const CacheView<Device::cpu> cache{data.data(), heads, capacity, dim};
  append_to_cache<Device::cpu>(queue, view_of(rows, 2, heads * dim), 3, cache);
  EXPECT_EQ(data, (std::vector<float>{-1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 1, 2, 6, 7,  8,
                                      -1, -1, -1, -1, -1, -1, -1, -1, -1, 3, 4, 5, 9, 10, 11}));
  EXPECT_THROW(append_to_cache<Device::cpu>(queue, view_of(rows, 2, heads * dim), 4, cache), Error);
}

}  // namespace
}  // namespace hack::kernels
