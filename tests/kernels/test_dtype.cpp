#include "kernels/dtype.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "kernels/finite.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack {
namespace {

TEST(DType, IsReadByName) {
  for (DType type : tests::all_types) EXPECT_EQ(parse_dtype(to_string(type)), type);
  EXPECT_THROW(parse_dtype("fp8"), Error);
}

TEST(DType, RoundsHandComputedNumbers) {
  EXPECT_EQ(to_bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(to_bf16(1.0f + 0x1p-8f).bits, 0x3f80);  // tie: to even, down
  EXPECT_EQ(to_bf16(1.0f + 0x3p-8f).bits, 0x3f82);  // tie: to even, up
  EXPECT_EQ(to_bf16(3.4e38f).bits, 0x7f80);         // infinity
  EXPECT_EQ(to_f16(1.0f).bits, 0x3c00);
  EXPECT_EQ(to_f16(65504.0f).bits, 0x7bff);
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_f16(-0x1p-24f).bits, 0x8001);  // smallest subnormal
  EXPECT_EQ(to_f16(0x1p-25f).bits, 0x0000);   // tie: to even
  EXPECT_EQ(to_float(f16{0x0001}), 0x1p-24f);
}

TEST(DType, EveryHalfSurvivesTheWayThroughFloat) {
  std::vector<std::uint16_t> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  for (DType type : {DType::bf16, DType::f16}) {
    std::vector<float> wide(all.size());
    std::vector<std::uint16_t> back(all.size());
    convert(all.data(), type, wide.data(), DType::f32, 65536);
    convert(wide.data(), DType::f32, back.data(), type, 65536);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const float expected = type == DType::bf16 ? to_float(bf16{all[i]}) : to_float(f16{all[i]});
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(wide[i])) << to_string(type) << " " << i;
      } else {
        ASSERT_EQ(wide[i], expected) << to_string(type) << " " << i;
        ASSERT_EQ(back[i], all[i]) << to_string(type);
      }
    }
  }
}

/// One number of all bit patterns of the upper half among sound ones, at every place, in and behind whole vectors.
TEST(DType, NumbersThatAreNotFiniteAreSeenWhereverTheyStand) {
  for (DType type : tests::all_types) {
    const index_t size = size_of(type);
    for (const index_t n : {0, 1, 31, 33, 64, 129}) {
      std::vector<std::byte> bytes(static_cast<std::size_t>(n * size + 1));
      std::byte* numbers = bytes.data() + 1;  // nothing is aligned
      EXPECT_TRUE(are_finite(numbers, type, n));
      EXPECT_TRUE(are_finite_from_zero(numbers, type, n));
      for (index_t at = 0; at < n; ++at) {
        for (std::uint32_t upper = 0; upper < 65536; upper += n < 129 ? 251 : 4093) {
          for (const std::uint32_t half : {upper, upper | 0x7f80, upper & 0x8000}) {
            const std::uint32_t bits = type == DType::f32 ? half << 16 : half;
            std::memcpy(numbers + at * size, &bits, static_cast<std::size_t>(size));
            std::uint32_t aligned = bits;
            float number = 0;
            convert(&aligned, type, &number, DType::f32, 1);
            ASSERT_EQ(are_finite(numbers, type, n), std::isfinite(number)) << to_string(type) << " " << half;
            ASSERT_EQ(are_finite_from_zero(numbers, type, n), std::isfinite(number) && number >= 0)
                << to_string(type) << " " << half;
          }
        }
        std::memset(numbers + at * size, 0, static_cast<std::size_t>(size));
      }
    }
  }
}

TEST(DType, ConvertsRowsAsSingleNumbers) {
  // Bit patterns of all magnitudes, NaN and infinity among them, at sizes off the vector length.
  std::mt19937 generator(1);
  for (index_t n : {0, 1, 3, 17, 63, 65, 1023, 1025, 20000}) {
    std::vector<float> from(static_cast<std::size_t>(n));
    for (float& x : from) x = std::bit_cast<float>(static_cast<std::uint32_t>(generator()));
    std::vector<bf16> brain(from.size());
    std::vector<f16> half(from.size());
    convert(from.data(), DType::f32, brain.data(), DType::bf16, n);
    convert(from.data(), DType::f32, half.data(), DType::f16, n);
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (std::isnan(from[i])) {
        ASSERT_TRUE(std::isnan(to_float(brain[i])) && std::isnan(to_float(half[i])));
      } else {
        ASSERT_EQ(brain[i].bits, to_bf16(from[i]).bits) << from[i];
        ASSERT_EQ(half[i].bits, to_f16(from[i]).bits) << from[i];
      }
    }
    std::vector<f16> through(from.size());
    convert(brain.data(), DType::bf16, through.data(), DType::f16, n);
    for (std::size_t i = 0; i < from.size(); ++i) {
      const float value = to_float(brain[i]);
      if (!std::isnan(value)) {
        ASSERT_EQ(through[i].bits, to_f16(value).bits);
      }
    }
  }
}

}  // namespace
}  // namespace hack
