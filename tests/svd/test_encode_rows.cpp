#include "svd/tile/encode_rows.hpp"

#include <cmath>
#include <random>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hack::svd {
namespace {

/// Rows in a codec.
struct Encoded {
  std::vector<std::byte> codes, scales;
  std::vector<float> values;  // (rows, cols): what they stand for

  Encoded(Codec codec, const std::vector<float>& x, index_t rows, index_t cols)
      : codes(static_cast<std::size_t>(rows * code_bytes(codec, cols)), std::byte{0xee}),
        scales(static_cast<std::size_t>(rows * scale_bytes(codec, cols)), std::byte{0xee}),
        values(x.size()) {
    const std::vector<double> ones(static_cast<std::size_t>(cols), 1.0);
    encode_rows(codec, {x.data(), rows, cols}, ones, codes.data(), scales.data());
    widen(codec, codes.data(), scales.data(), rows, cols, values.data());
  }
};

std::string hex(const std::vector<std::byte>& bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

/// A row of two blocks of 32 as GGML's reference quantizers write it; values by those of the Python package gguf 0.19.
struct Reference {
  Codec codec;
  std::string_view scales, codes;
};
const std::vector<Reference> references = {
    {Codec::q8_0, "6d1ef303",
     "8b023728d63c5f3edb2f410f9adddd9a0f412fdb3e5f3cd62837028bccc97ff6"
     "2712b71d3c15a8fb08cf56918b46b5e3cc75d1eec45ba5b07af8362fe1537f65"},
    {Codec::q5_1, "532ae0b9c30f339f",
     "107f56a479b66b974a65f701828afae2ec0e7743"
     "84e196d276a1345ee0e96a51b098f5cb3b2522ed"},
    {Codec::q5_0, "60aad78f",
     "ef80a95b85488458b59a08fe7d74041d13f188bc"
     "7b1e692c885dbba11f1695ae4f670934c4dadd12"},
    {Codec::q4_1, "892ee0b90314339f",
     "80b7ab5ab5dbbd5ba5ba7b084145f571"
     "4ae843694bd82227f874bca050cbf3d5"},
    {Codec::q4_0, "60aed793",
     "7f4855a54b2442b45a5584f7beba0a9e"
     "b617bd96c427eed8088b535faf340d2a"},
};

TEST(EncodeRows, WritesBlocksAsGgmlDoes) {
  std::vector<float> x;
  for (int i = 0; i < 64; ++i) {
    x.push_back(static_cast<float>((i * i * 37 + 11 * i) % 101 - 47) / 64 * (i < 32 ? 1 : 0.01f));
  }
  for (const Reference& reference : references) {
    SCOPED_TRACE(to_string(reference.codec));
    const Encoded row(reference.codec, x, 1, 64);
    EXPECT_EQ(hex(row.scales), reference.scales);
    EXPECT_EQ(hex(row.codes), reference.codes);
  }
}

TEST(EncodeRows, IsOffByAtMostAStep) {
  const index_t rows = 9;
  for (const CodecSpec& spec : term_codec_specs) {
    // Of the largest number: a step of integers of so many bits, or the digits of bf16.
    const double step = std::max(1.05 * std::ldexp(1.0, 1 - static_cast<int>(spec.code_bits)), 0x1p-8);
    for (const index_t cols : {1, 31, 32, 33, 100, 128}) {
      SCOPED_TRACE(testing::Message() << spec.name << ", " << cols << " columns");
      std::mt19937 random(static_cast<unsigned>(cols));
      std::normal_distribution<float> normal;
      std::vector<float> x(static_cast<std::size_t>(rows * cols));
      for (float& number : x) number = normal(random);
      const Encoded encoded(spec.codec, x, rows, cols);
      for (index_t r = 0; r < rows; ++r) {
        double largest = 0;
        for (index_t c = 0; c < cols; ++c) largest = std::max(largest, std::fabs(double{x[r * cols + c]}));
        for (index_t c = 0; c < cols; ++c) {
          ASSERT_NEAR(encoded.values[r * cols + c], x[r * cols + c], step * largest) << r << ", " << c;
        }
      }
    }
  }
}

TEST(EncodeRows, KeepsZerosAndTinyNumbers) {
  for (const CodecSpec& spec : term_codec_specs) {
    for (const float tiny : {0.0f, 1e-42f, -1e-38f}) {
      const Encoded encoded(spec.codec, std::vector<float>(70, tiny), 2, 35);
      for (const float value : encoded.values) EXPECT_NEAR(value, 0, 1e-37) << spec.name;
    }
  }
}

TEST(EncodeRows, StaysFiniteWhereItSaysSo) {
  for (const CodecSpec& spec : term_codec_specs) {
    for (const float sign : {1.0f, -1.0f}) {
      float number = std::numeric_limits<float>::max() * sign;
      while (!fits({&number, 1, 1}, spec.codec)) number /= 2;
      const Encoded encoded(spec.codec, {number, -number / 2, number}, 1, 3);
      for (const float value : encoded.values) EXPECT_TRUE(std::isfinite(value)) << spec.name;
      EXPECT_NEAR(encoded.values[0] / number, 1, 0.2) << spec.name;
    }
  }
}

}  // namespace
}  // namespace hack::svd
