#include "kernels/cpu/linear/int16_product.hpp"

#include <gtest/gtest.h>

#include "tests/kernels/rounded_products.hpp"

namespace hack::kernels {
namespace {

/// d q with d = max |x| / 32767.
void round_block(const float* x, index_t n, float* rounded) {
  const auto [d, inverse] = tests::step_of(x, n, 32767);
  for (index_t i = 0; i < n; ++i) rounded[i] = d * std::nearbyint(x[i] * inverse);
}

const tests::RoundedProduct product{
    round_block, [](MatrixView<const float> x, const WeightView<>& w, MatrixView<float> y, Write write) {
      Queue<Device::cpu> queue(y.rows > 1 ? 3 : 1);
      share_transposed_int16(queue, x, w, y, write);
    }};

std::vector<Codec> codecs() { return tests::codecs_of(has_int16_product); }

TEST(Int16Product, MatchesTheProductOfRoundedNumbersAtOddSizes) {
  if (codecs().empty()) GTEST_SKIP() << "this CPU multiplies as many f32 numbers at a time as integers of 16 bits";
  for (Codec codec : codecs()) {
    for (index_t tokens : {1, 5, 6, 13}) {
      for (index_t in : {1, 31, 32, 33, 64, 129, 256, 330, 576, 608, 1100}) {
        for (index_t out : {1, 16, 17, 45}) tests::check_sums(product, tokens, in, out, codec);
      }
    }
    tests::check_sums(product, 7, 576, 401, codec);  // more than a panel
  }
}

TEST(Int16Product, HasTheSameBitsForAnyNumberOfTokensRowsAndThreads) {
  for (Codec codec : codecs()) tests::check_bits(product, 40, 1330, 77, codec);
}

TEST(Int16Product, PassesOnWhatIsNotFinite) {
  for (Codec codec : codecs()) tests::check_extremes(product, codec);
}

}  // namespace
}  // namespace hack::kernels
