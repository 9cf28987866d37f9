#include "kernels/cpu/linear/int8_dot.hpp"

#include <gtest/gtest.h>

#include "tests/kernels/rounded_products.hpp"

namespace hack::kernels {
namespace {

/// d q with d = max |x| / 127. Where one number has most of a block's energy, d (q + p / 254).
void round_block(const float* x, index_t n, float* rounded) {
  float largest = 0, energy = 0;
  for (index_t i = 0; i < n; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
    energy += x[i] * x[i];
  }
  const auto [d, inverse] = tests::step_of(x, n, 127);
  for (index_t i = 0; i < n; ++i) {
    const float q = std::nearbyint(x[i] * inverse);
    const float p = 2 * largest * largest > energy ? std::nearbyint(std::fma(-q, d, x[i]) * (inverse * 254)) : 0;
    rounded[i] = d * (q + p / 254);
  }
}

const tests::RoundedProduct product{round_block, multiply_few_int8};

std::vector<Codec> codecs() { return tests::codecs_of(has_int8_dot); }

TEST(Int8Dot, MatchesTheProductOfRoundedNumbersAtOddSizes) {
  if (codecs().empty()) GTEST_SKIP() << "this CPU multiplies no bytes";
  for (Codec codec : codecs()) {
    for (index_t tokens : {1, 2, 3, 4, 7, 8}) {
      for (index_t in : {1, 5, 31, 32, 33, 64, 96, 129, 224, 256, 330, 1536}) {
        for (index_t out : {1, 3, 17, 130}) tests::check_sums(product, tokens, in, out, codec);
      }
    }
  }
}

/// Token t has a number far from the others in every block but the last t.
TEST(Int8Dot, MultipliesAnyNumberOfSecondCodes) {
  for (Codec codec : codecs()) {
    for (index_t in : {32, 64, 224, 288, 736}) {
      const index_t blocks = in / 32, tokens = std::min<index_t>(blocks + 1, 8);
      std::vector<float> x = tests::random_floats(tokens * in, 2);
      for (index_t t = 0; t < tokens; ++t) {
        for (index_t b = 0; b < blocks - t; ++b) x[static_cast<std::size_t>(t * in + b * 32 + 7 * b % 32)] = 20;
      }
      for (index_t some = 1; some <= tokens; ++some) {
        const std::vector<float> first(x.begin(), x.begin() + some * in);
        tests::check_sums_of(product, first, some, tests::RandomWeights(7, in, codec, 1));
      }
    }
  }
}

TEST(Int8Dot, HasRoomForTheLargestCodes) {
  for (Codec codec : codecs()) {
    for (const std::byte code : {std::byte{0x00}, std::byte{0xff}, std::byte{0x80}}) {
      tests::RandomWeights w(5, 288, codec, 1);
      std::fill(w.bytes.begin(), w.bytes.end(), code);
      widen(codec, w.bytes.data(), w.encoded.scales.data(), 5, 288, w.values.data());
      std::vector<float> x(2 * 288, 1.0f);
      std::fill(x.begin() + 288, x.end(), -1.0f);
      tests::check_sums_of(product, x, 2, w);
    }
  }
}

TEST(Int8Dot, HasTheSameBitsForAnyNumberOfTokensAndRows) {
  for (Codec codec : codecs()) tests::check_bits(product, 8, 330, 77, codec);
  for (Codec codec : codecs()) tests::check_bits(product, 7, 736, 6, codec);
}

TEST(Int8Dot, PassesOnWhatIsNotFinite) {
  for (Codec codec : codecs()) tests::check_extremes(product, codec);
}

}  // namespace
}  // namespace hack::kernels
