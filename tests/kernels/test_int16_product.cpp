#include "kernels/cpu/linear/int16_product.hpp"

#include <limits>

#include <gtest/gtest.h>

#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::random_floats;
using tests::RandomWeights;
using tests::view_of;

/// The slow twin of the rounding: d q for each 32 numbers of a row, d = max |x| / 32767.
std::vector<float> round_to_int16(const std::vector<float>& x, index_t rows) {
  const index_t n = std::ssize(x) / rows;
  std::vector<float> rounded = x;
  for (index_t t = 0; t < rows; ++t) {
    for (index_t first = 0; first < n; first += 32) {
      const index_t last = std::min(n, first + 32);
      float largest = 0;
      for (index_t i = first; i < last; ++i) largest = std::max(largest, std::fabs(x[t * n + i]));
      const float d = largest / 32767, inverse = d >= 0x1p-126f ? 1 / d : 0;
      for (index_t i = first; i < last; ++i) rounded[t * n + i] = d * std::nearbyint(x[t * n + i] * inverse);
    }
  }
  return rounded;
}

std::vector<float> multiply(const std::vector<float>& x, index_t tokens, const WeightView<>& w, std::vector<float> y,
                            Write write, int threads = 1) {
  Queue<Device::cpu> queue(threads);
  share_transposed_int16(queue, view_of(x, tokens, w.cols), w, view_of(y, tokens, w.rows), write);
  return y;
}

std::vector<Codec> codecs() {
  std::vector<Codec> known;
  for (Codec codec : tests::all_codecs()) {
    if (has_int16_product(codec)) known.push_back(codec);
  }
  return known;
}

/// Codes are multiplied exactly. Beside the rounding of x, a sum of a block's products is off by a few eps for its
/// scales, and the sum of blocks by eps for each of its additions.
void check(index_t tokens, index_t in, index_t out, Codec codec) {
  SCOPED_TRACE(testing::Message() << tokens << " tokens, " << out << " x " << in << " " << to_string(codec));
  const RandomWeights w(out, in, codec, 1);
  std::vector<float> x = random_floats(tokens * in, 2);
  for (index_t i = 20; i < tokens * in; i += 90) x[static_cast<std::size_t>(i)] *= 1000;
  const std::vector<float> before = random_floats(tokens * out, 3), rounded = round_to_int16(x, tokens);
  const std::vector<float> replaced = multiply(x, tokens, w.view, before, Write::replace);
  const std::vector<float> added = multiply(x, tokens, w.view, before, Write::add);
  for (index_t t = 0; t < tokens; ++t) {
    for (index_t i = 0; i < out; ++i) {
      double sum = 0, size = 0, length = 0;
      for (index_t p = 0; p < in; ++p) {
        const double number = rounded[t * in + p];
        sum += number * w.values[i * in + p];
        size += std::fabs(number * w.values[i * in + p]);
        length += std::fabs(number);
      }
      // Minima add numbers of the size of a block's largest weight, at most 4 here, which cancel.
      const double bound = static_cast<double>(in / 32 + 16) * tests::eps * (size + 4 * length);
      ASSERT_NEAR(replaced[t * out + i], sum, bound) << t << ", " << i;
      ASSERT_NEAR(added[t * out + i], before[t * out + i] + sum, bound + tests::eps * std::fabs(before[t * out + i]))
          << t << ", " << i;
    }
  }
}

TEST(Int16Product, MatchesTheProductOfRoundedNumbersAtOddSizes) {
  if (codecs().empty()) GTEST_SKIP() << "this CPU multiplies as many f32 numbers at a time as integers of 16 bits";
  for (Codec codec : codecs()) {
    for (index_t tokens : {1, 5, 6, 13}) {
      for (index_t in : {1, 31, 32, 33, 64, 129, 256, 330, 576, 608, 1100}) {
        for (index_t out : {1, 16, 17, 45}) check(tokens, in, out, codec);
      }
    }
    check(7, 576, 401, codec);  // more than a panel
  }
}

TEST(Int16Product, HasTheSameBitsForAnyNumberOfTokensRowsAndThreads) {
  const index_t tokens = 40, in = 1330, out = 77;
  for (Codec codec : codecs()) {
    const RandomWeights w(out, in, codec, 1);
    const std::vector<float> x = random_floats(tokens * in, 2), zeros(static_cast<std::size_t>(tokens * out));
    const std::vector<float> all = multiply(x, tokens, w.view, zeros, Write::replace, 3);
    for (index_t t = 0; t < tokens; t += 7) {
      const std::vector<float> row(x.begin() + t * in, x.begin() + (t + 1) * in);
      for (index_t i = 0; i < out; i += 5) {
        const std::vector<float> one = multiply(row, 1, w.view.rows_from(i, 1), {0}, Write::replace);
        ASSERT_EQ(one[0], all[t * out + i]) << to_string(codec) << " " << t << ", " << i;
      }
    }
  }
}

TEST(Int16Product, PassesOnWhatIsNotFinite) {
  for (Codec codec : codecs()) {
    const RandomWeights w(3, 64, codec, 1);
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> x = random_floats(64, 2);
      x[40] = bad;
      for (float y : multiply(x, 1, w.view, {0, 0, 0}, Write::replace)) EXPECT_TRUE(std::isnan(y)) << to_string(codec);
    }
    for (float y : multiply(std::vector<float>(64), 1, w.view, {1, 1, 1}, Write::replace)) EXPECT_EQ(y, 0.0f);
  }
}

}  // namespace
}  // namespace hack::kernels
