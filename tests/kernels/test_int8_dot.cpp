#include "kernels/cpu/linear/int8_dot.hpp"

#include <limits>

#include <gtest/gtest.h>

#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::random_floats;
using tests::RandomWeights;
using tests::view_of;

/// The slow twin of the rounding: d q for each 32 numbers of a row, d = max |x| / 127. Where one of them has most of
/// the energy, d (q + p / 254).
std::vector<float> round_to_int8(const std::vector<float>& x, index_t tokens) {
  const index_t n = std::ssize(x) / tokens;
  std::vector<float> rounded = x;
  for (index_t t = 0; t < tokens; ++t) {
    for (index_t first = 0; first < n; first += 32) {
      const index_t last = std::min(n, first + 32);
      float largest = 0, energy = 0;
      for (index_t i = first; i < last; ++i) {
        largest = std::max(largest, std::fabs(x[t * n + i]));
        energy += x[t * n + i] * x[t * n + i];
      }
      const float d = largest / 127, inverse = d >= 0x1p-126f ? 1 / d : 0;
      for (index_t i = first; i < last; ++i) {
        const float number = x[t * n + i], q = std::nearbyint(number * inverse);
        const float p = 2 * largest * largest > energy ? std::nearbyint(std::fma(-q, d, number) * (inverse * 254)) : 0;
        rounded[t * n + i] = d * (q + p / 254);
      }
    }
  }
  return rounded;
}

/// Numbers in [-1, 1) and in some blocks one that is far from them.
std::vector<float> uneven_floats(index_t count, unsigned seed) {
  std::vector<float> x = random_floats(count, seed);
  for (index_t i = 20; i < count; i += 90) x[static_cast<std::size_t>(i)] = i % 4 == 0 ? 20.0f : -20.0f;
  return x;
}

std::vector<float> multiply(const std::vector<float>& x, index_t tokens, const WeightView<>& w, std::vector<float> y,
                            Write write) {
  multiply_few_int8(view_of(x, tokens, w.cols), w, view_of(y, tokens, w.rows), write);
  return y;
}

std::vector<Codec> codecs() {
  std::vector<Codec> known;
  for (Codec codec : tests::all_codecs()) {
    if (has_int8_dot(codec)) known.push_back(codec);
  }
  return known;
}

/// Codes are multiplied exactly. Beside the rounding of x, a sum of a block's products is off by a few eps for its
/// scales, and the sum of blocks by eps for each of its additions.
void check(index_t tokens, index_t in, index_t out, Codec codec) {
  SCOPED_TRACE(testing::Message() << tokens << " tokens, " << out << " x " << in << " " << to_string(codec));
  const RandomWeights w(out, in, codec, 1);
  const std::vector<float> x = uneven_floats(tokens * in, 2), before = random_floats(tokens * out, 3);
  const std::vector<float> rounded = round_to_int8(x, tokens);
  const std::vector<float> replaced = multiply(x, tokens, w.view, before, Write::replace);
  const std::vector<float> added = multiply(x, tokens, w.view, before, Write::add);
  for (index_t t = 0; t < tokens; ++t) {
    for (index_t i = 0; i < out; ++i) {
      double sum = 0, size = 0;
      for (index_t p = 0; p < in; ++p) {
        const double product = double{rounded[t * in + p]} * w.values[i * in + p];
        sum += product;
        size += std::fabs(product);
      }
      // Minima add numbers of the size of a block's largest weight, which cancel.
      const double bound = static_cast<double>(in / 32 + 16) * tests::eps * (size + 4 * std::sqrt(in));
      ASSERT_NEAR(replaced[t * out + i], sum, bound) << t << ", " << i;
      ASSERT_NEAR(added[t * out + i], before[t * out + i] + sum, bound + tests::eps * std::fabs(before[t * out + i]))
          << t << ", " << i;
    }
  }
}

TEST(Int8Dot, MatchesTheProductOfRoundedNumbersAtOddSizes) {
  if (codecs().empty()) GTEST_SKIP() << "this CPU multiplies no bytes";
  for (Codec codec : codecs()) {
    for (index_t tokens : {1, 2, 3, 4, 7, 8}) {
      for (index_t in : {1, 5, 31, 32, 33, 64, 96, 129, 256, 330, 1536}) {
        for (index_t out : {1, 3, 17, 130}) check(tokens, in, out, codec);
      }
    }
  }
}

TEST(Int8Dot, HasTheSameBitsForAnyNumberOfTokensAndRows) {
  const index_t tokens = 8, in = 330, out = 77;
  for (Codec codec : codecs()) {
    const RandomWeights w(out, in, codec, 1);
    const std::vector<float> x = uneven_floats(tokens * in, 2), zeros(static_cast<std::size_t>(tokens * out));
    const std::vector<float> all = multiply(x, tokens, w.view, zeros, Write::replace);
    for (index_t t = 0; t < tokens; ++t) {
      for (index_t i = 0; i < out; ++i) {
        float one = 0;
        multiply_few_int8({x.data() + t * in, 1, in}, w.view.rows_from(i, 1), {&one, 1, 1}, Write::replace);
        ASSERT_EQ(one, all[t * out + i]) << to_string(codec) << " " << t << ", " << i;
      }
    }
  }
}

TEST(Int8Dot, PassesOnWhatIsNotFinite) {
  for (Codec codec : codecs()) {
    const RandomWeights w(3, 64, codec, 1);
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> x = random_floats(64, 2);
      x[40] = bad;
      for (float y : multiply(x, 1, w.view, {0, 0, 0}, Write::replace)) EXPECT_TRUE(std::isnan(y)) << to_string(codec);
    }
    for (float y : multiply(std::vector<float>(64), 1, w.view, {1, 1, 1}, Write::replace)) EXPECT_EQ(y, 0.0f);
    const std::vector<float> tiny(64, 1e-45f);
    for (float y : multiply(tiny, 1, w.view, {1, 1, 1}, Write::replace)) EXPECT_NEAR(y, 0.0f, 1e-40f);
  }
}

}  // namespace
}  // namespace hack::kernels
