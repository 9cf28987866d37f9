#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/linear.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::tests {

/// A product of tokens that are rounded in blocks of 32 and then multiplied with codes, and the slow twin of the
/// rounding: what stands for n numbers that are a block.
struct RoundedProduct {
  using Round = std::function<void(const float* x, index_t n, float* rounded)>;
  using Multiply =
      std::function<void(MatrixView<const float> x, const WeightView<>& w, MatrixView<float> y, kernels::Write write)>;
  Round round;
  Multiply multiply;

  /// y or y + x wᵀ; x (tokens, columns of w).
  std::vector<float> operator()(const std::vector<float>& x, index_t tokens, const WeightView<>& w,
                                std::vector<float> y, kernels::Write write) const {
    multiply(view_of(x, tokens, w.cols), w, view_of(y, tokens, w.rows), write);
    return y;
  }

  std::vector<float> rounded(const std::vector<float>& x, index_t tokens) const {
    const index_t n = std::ssize(x) / tokens;
    std::vector<float> out(x.size());
    for (index_t t = 0; t < tokens; ++t) {
      for (index_t first = 0; first < n; first += 32) {
        round(x.data() + t * n + first, std::min<index_t>(32, n - first), out.data() + t * n + first);
      }
    }
    return out;
  }
};

/// d of a block whose largest code is `most`, and its inverse.
inline std::pair<float, float> step_of(const float* x, index_t n, float most) {
  float largest = 0;
  for (index_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float d = largest / most;
  return {d, d >= 0x1p-126f ? 1 / d : 0};
}

/// Numbers in [-1, 1) and in some blocks one that is far from them.
inline std::vector<float> uneven_floats(index_t count, unsigned seed) {
  std::vector<float> x = random_floats(count, seed);
  for (index_t i = 20; i < count; i += 90) x[static_cast<std::size_t>(i)] = i % 4 == 0 ? 20.0f : -20.0f;
  return x;
}

/// Codes are multiplied exactly. Beside the rounding of x, a sum of a block's products is off by a few eps for its
/// scales, and the sum of blocks by eps for each of its additions.
inline void check_sums(const RoundedProduct& product, index_t tokens, index_t in, index_t out, Codec codec) {
  SCOPED_TRACE(testing::Message() << tokens << " tokens, " << out << " x " << in << " " << to_string(codec));
  const RandomWeights w(out, in, codec, 1);
  const std::vector<float> x = uneven_floats(tokens * in, 2), before = random_floats(tokens * out, 3);
  const std::vector<float> rounded = product.rounded(x, tokens);
  const std::vector<float> replaced = product(x, tokens, w.view, before, kernels::Write::replace);
  const std::vector<float> added = product(x, tokens, w.view, before, kernels::Write::add);
  for (index_t t = 0; t < tokens; ++t) {
    for (index_t i = 0; i < out; ++i) {
      double sum = 0, size = 0;
      for (index_t p = 0; p < in; ++p) {
        const double term = double{rounded[t * in + p]} * w.values[i * in + p];
        sum += term;
        size += std::fabs(term);
      }
      // Minima add numbers of the size of a block's largest weight, which cancel.
      const double bound = static_cast<double>(in / 32 + 16) * eps * (size + 4 * std::sqrt(in));
      ASSERT_NEAR(replaced[t * out + i], sum, bound) << t << ", " << i;
      ASSERT_NEAR(added[t * out + i], before[t * out + i] + sum, bound + eps * std::fabs(before[t * out + i]))
          << t << ", " << i;
    }
  }
}

/// Each element by itself has the bits that it has among all.
inline void check_bits(const RoundedProduct& product, index_t tokens, index_t in, index_t out, Codec codec) {
  const RandomWeights w(out, in, codec, 1);
  const std::vector<float> x = uneven_floats(tokens * in, 2), zeros(static_cast<std::size_t>(tokens * out));
  const std::vector<float> all = product(x, tokens, w.view, zeros, kernels::Write::replace);
  for (index_t t = 0; t < tokens; ++t) {
    for (index_t i = 0; i < out; ++i) {
      float one = 0;
      product.multiply({x.data() + t * in, 1, in}, w.view.rows_from(i, 1), {&one, 1, 1}, kernels::Write::replace);
      ASSERT_EQ(one, all[t * out + i]) << to_string(codec) << " " << t << ", " << i;
    }
  }
}

/// What is not finite makes sums that are none; zeros make zeros, and next to nothing next to nothing.
inline void check_extremes(const RoundedProduct& product, Codec codec) {
  const RandomWeights w(3, 64, codec, 1);
  const auto of = [&](const std::vector<float>& x) {
    return product(x, 1, w.view, {1, 1, 1}, kernels::Write::replace);
  };
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> x = random_floats(64, 2);
    x[40] = bad;
    for (const float y : of(x)) EXPECT_TRUE(std::isnan(y)) << to_string(codec);
  }
  for (const float y : of(std::vector<float>(64))) EXPECT_EQ(y, 0.0f);
  for (const float y : of(std::vector<float>(64, 1e-45f))) EXPECT_NEAR(y, 0.0f, 1e-40f);
}

/// Those that a product takes on this CPU.
inline std::vector<Codec> codecs_of(bool (*takes)(Codec)) {
  std::vector<Codec> known;
  for (const Codec codec : all_codecs()) {
    if (takes(codec)) known.push_back(codec);
  }
  return known;
}

}  // namespace hack::tests
