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
      for (index_t in : {1, 5, 31, 32, 33, 64, 96, 129, 256, 330, 1536}) {
        for (index_t out : {1, 3, 17, 130}) tests::check_sums(product, tokens, in, out, codec);
      }
    }
  }
}

TEST(Int8Dot, HasTheSameBitsForAnyNumberOfTokensAndRows) {
  for (Codec codec : codecs()) tests::check_bits(product, 8, 330, 77, codec);
}

TEST(Int8Dot, PassesOnWhatIsNotFinite) {
  for (Codec codec : codecs()) tests::check_extremes(product, codec);
}

}  // namespace
}  // namespace hack::kernels
