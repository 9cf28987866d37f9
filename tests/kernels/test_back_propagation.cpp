#include "kernels/back_propagation.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::eps;
using tests::random_floats;
using tests::view_of;

constexpr Device cpu = Device::cpu;

/// ∂f/∂x[i] of a function in double, by central differences.
template <class F>
double derivative(std::vector<double>& x, std::size_t i, const F& f) {
  constexpr double step = 1e-5;
  const double before = x[i];
  x[i] = before + step;
  const double above = f();
  x[i] = before - step;
  const double below = f();
  x[i] = before;
  return (above - below) / (2 * step);
}

std::vector<double> wide(const std::vector<float>& x) { return {x.begin(), x.end()}; }

TEST(RmsNormGradient, IsTheCentralDifferencesAndAdds) {
  for (const auto& [tokens, n] : {std::pair<index_t, index_t>{1, 1}, {3, 7}, {5, 70}, {0, 4}}) {
    const std::vector<float> x = random_floats(tokens * n, 1), dy = random_floats(tokens * n, 2);
    const std::vector<float> weight = random_floats(n, 3), before = random_floats(tokens * n, 4);
    Queue<cpu> queue(2);
    std::vector<float> dx = before;
    rms_norm_gradient<cpu>(queue, view_of(dy, tokens, n), view_of(x, tokens, n), weight.data(), 1e-3f,
                           view_of(dx, tokens, n));
    std::vector<double> at = wide(x);
    for (index_t t = 0; t < tokens; ++t) {
      const auto loss = [&] {
        double squares = 0, sum = 0;
        for (index_t j = 0; j < n; ++j) squares += at[t * n + j] * at[t * n + j];
        const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-3);
        for (index_t j = 0; j < n; ++j) sum += dy[t * n + j] * at[t * n + j] * scale * weight[j];
        return sum;
      };
      for (index_t j = 0; j < n; ++j) {
        const auto i = static_cast<std::size_t>(t * n + j);
        // Differences are good to 1e-8 of terms of order 30 (1 / √1e-3); f32 leaves some eps of as much.
        EXPECT_NEAR(dx[i] - before[i], derivative(at, i, loss), 30 * 32 * eps);
      }
    }
  }
}

/// Attention of one window in double.
struct SlowAttention {
  index_t tokens, heads, kv_heads, dim;
  std::vector<double> q, k, v;  // (tokens, heads * dim), (tokens, kv_heads * dim)
  std::vector<float> dout;

  double loss() const {
    double sum = 0;
    for (index_t h = 0; h < heads; ++h) {
      const index_t kv = h * kv_heads / heads;
      for (index_t t = 0; t < tokens; ++t) {
        std::vector<double> p;
        double total = 0;
        for (index_t s = 0; s <= t; ++s) {
          double dot = 0;
          for (index_t i = 0; i < dim; ++i) dot += q[(t * heads + h) * dim + i] * k[(s * kv_heads + kv) * dim + i];
          total += p.emplace_back(std::exp(dot / std::sqrt(static_cast<double>(dim))));
        }
        for (index_t s = 0; s <= t; ++s) {
          for (index_t i = 0; i < dim; ++i) {
            sum += p[s] / total * v[(s * kv_heads + kv) * dim + i] * dout[(t * heads + h) * dim + i];
          }
        }
      }
    }
    return sum;
  }
};

TEST(AttentionGradient, IsTheCentralDifferencesOverMoreThanOneBlock) {
  const index_t tokens = 67, heads = 4, kv_heads = 2, dim = 6;  // a block of 64 queries and some
  const std::vector<float> q = random_floats(tokens * heads * dim, 1), k = random_floats(tokens * kv_heads * dim, 2);
  const std::vector<float> v = random_floats(tokens * kv_heads * dim, 3), dout = random_floats(tokens * heads * dim, 4);
  SlowAttention slow{tokens, heads, kv_heads, dim, wide(q), wide(k), wide(v), dout};
  std::vector<std::vector<float>> first;
  for (const int threads : {1, 3}) {
    Queue<cpu> queue(threads);
    std::vector<float> keys(k.size()), values(v.size());
    const CacheView<cpu> key_cache{keys.data(), kv_heads, tokens, dim},
        value_cache{values.data(), kv_heads, tokens, dim};
    append_to_cache<cpu>(queue, view_of(k, tokens, kv_heads * dim), index_t{0}, key_cache);
    append_to_cache<cpu>(queue, view_of(v, tokens, kv_heads * dim), index_t{0}, value_cache);
    std::vector<float> dq(q.size(), 9.0f), dk(k.size(), 9.0f), dv(v.size(), 9.0f);
    const std::vector<int> kv_of_head = {0, 0, 1, 1};
    attention_gradient<cpu>(
        queue, {view_of(q, tokens, heads * dim), key_cache, value_cache, kv_of_head},
        view_of(dout, tokens, heads * dim),
        {view_of(dq, tokens, heads * dim), view_of(dk, tokens, kv_heads * dim), view_of(dv, tokens, kv_heads * dim)});
    const std::vector<std::vector<float>> found = {dq, dk, dv};
    if (threads == 1) first = found;
    EXPECT_EQ(found, first);
  }
  const auto loss = [&] { return slow.loss(); };
  // Sums of at most 67 · 2 terms of order 1; every 13th number is looked at.
  const double tolerance = 67 * 8 * eps;
  for (std::size_t i = 0; i < q.size(); i += 13) EXPECT_NEAR(first[0][i], derivative(slow.q, i, loss), tolerance);
  for (std::size_t i = 0; i < k.size(); i += 13) EXPECT_NEAR(first[1][i], derivative(slow.k, i, loss), tolerance);
  for (std::size_t i = 0; i < v.size(); i += 13) EXPECT_NEAR(first[2][i], derivative(slow.v, i, loss), tolerance);
}

TEST(DivergenceGradient, OfTwoSlicesIsTheWhole) {
  const index_t tokens = 5, n = 37, cut = 20;
  const std::vector<float> l = random_floats(tokens * n, 1), m = random_floats(tokens * n, 2);
  Queue<cpu> queue(2);
  std::vector<double> log_l, log_m, expected;
  for (index_t t = 0; t < tokens; ++t) {
    double of_l = 0, of_m = 0, sum = 0;
    for (index_t i = 0; i < n; ++i) {
      of_l += std::exp(double{l[t * n + i]});
      of_m += std::exp(double{m[t * n + i]});
    }
    log_l.push_back(std::log(of_l));
    log_m.push_back(std::log(of_m));
    for (index_t i = 0; i < n; ++i) {
      const double p = l[t * n + i] - log_l.back();
      sum += std::exp(p) * (p - m[t * n + i] + log_m.back());
    }
    expected.push_back(sum);
  }
  std::vector<float> sums_l(log_l.begin(), log_l.end()), sums_m(log_m.begin(), log_m.end()), gradient = m;
  std::vector<double> found(tokens);
  for (const auto& [first, count] : {std::pair{index_t{0}, cut}, {cut, n - cut}, {n, index_t{0}}}) {
    std::vector<float> parts(tokens), maxima(tokens), sums(tokens);
    exp_sums<cpu>(queue, view_of(l, tokens, n).block(0, first, tokens, count), maxima.data(), sums.data());
    for (index_t t = 0; t < tokens; ++t) {
      double largest = -std::numeric_limits<double>::infinity(), sum = 0;
      for (index_t i = first; i < first + count; ++i) largest = std::max(largest, double{l[t * n + i]});
      for (index_t i = first; i < first + count; ++i) sum += std::exp(l[t * n + i] - largest);
      EXPECT_EQ(maxima[t], static_cast<float>(largest));
      EXPECT_NEAR(sums[t], sum, 40 * eps * sum);
    }
    divergence_gradient<cpu>(queue, view_of(l, tokens, n).block(0, first, tokens, count),
                             {sums_l.data(), sums_m.data()}, 0.5f,
                             view_of(gradient, tokens, n).block(0, first, tokens, count), parts.data());
    for (index_t t = 0; t < tokens; ++t) found[t] += parts[t];
  }
  for (index_t t = 0; t < tokens; ++t) {
    EXPECT_NEAR(found[t], expected[t], 40 * eps);
    for (index_t i = 0; i < n; ++i) {
      const double slope = 0.5 * (std::exp(m[t * n + i] - log_m[t]) - std::exp(l[t * n + i] - log_l[t]));
      EXPECT_NEAR(gradient[t * n + i], slope, 8 * eps);
    }
  }
}

}  // namespace
}  // namespace hack::kernels
