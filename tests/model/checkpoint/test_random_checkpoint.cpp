#include "model/checkpoint/random_checkpoint.hpp"

#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

constexpr const char* gate = "model.layers.0.mlp.gate_proj.weight";

std::vector<float> block(const Checkpoint& model, const std::string& name, index_t row, index_t col, index_t rows,
                         index_t cols) {
  std::vector<float> out(static_cast<std::size_t>(rows * cols));
  model.read(name, row, col, {out.data(), rows, cols});
  return out;
}

TEST(PublishedConfig, HasThePublishedNumberOfParameters) {
  const auto parameters = [](const char* shape) {
    const RandomCheckpoint model(shape, std::nullopt, 0);
    index_t count = 0;
    for (const std::string& name : model.names()) count += model.info(name).rows * model.info(name).cols;
    return count;
  };
  EXPECT_EQ(parameters("llama-3.2-1b"), 1235814400);
  EXPECT_EQ(parameters("llama-3.1-8b"), 8030261248);
  EXPECT_EQ(parameters("llama-3.1-70b"), 70553706496);
  EXPECT_EQ(parameters("llama-3.1-405b"), 405853388800);
}

TEST(PublishedConfig, IsSound) {
  for (const char* shape : {"llama-3.2-1b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"}) {
    const LlamaConfig config = published_config(shape);
    EXPECT_NO_THROW(check(config, shape));
    EXPECT_EQ(config.heads * config.head_dim, config.hidden_size);
    EXPECT_EQ(config.rope.type, RopeType::llama3);
  }
  EXPECT_TRUE(published_config("llama-3.2-1b").tied_embeddings);
  EXPECT_EQ(published_config("llama-3.2-1b").rope.factor, 32);
  EXPECT_THROW(published_config("llama-2-7b"), Error);
}

TEST(RandomCheckpoint, GivesTheSameNumbersWhateverBlockIsRead) {
  const RandomCheckpoint model("llama-3.2-1b", 1, 5);
  const std::vector<float> whole = block(model, gate, 100, 0, 40, 2048);
  for (const auto& [row, col, rows, cols] :
       {std::array<index_t, 4>{0, 0, 1, 1}, {7, 1000, 33, 130}, {39, 2040, 1, 8}, {0, 1, 40, 1}, {3, 3, 0, 5}}) {
    const std::vector<float> part = block(model, gate, 100 + row, col, rows, cols);
    for (index_t i = 0; i < rows; ++i) {
      for (index_t j = 0; j < cols; ++j) {
        EXPECT_EQ(part[static_cast<std::size_t>(i * cols + j)],
                  whole[static_cast<std::size_t>((row + i) * 2048 + col + j)]);
      }
    }
  }
}

TEST(RandomCheckpoint, IsCloseToNormal) {
  const RandomCheckpoint model("llama-3.1-8b", 1, 1);
  for (const std::string name : {gate, "model.layers.0.mlp.down_proj.weight", "lm_head.weight"}) {
    const auto n = static_cast<double>(model.info(name).cols);
    const std::vector<float> x = block(model, name, 64, 128, 256, 1024);
    double moments[5] = {};
    double neighbours = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double z = x[i] * std::sqrt(n);
      for (int p = 1; p <= 4; ++p) moments[p] += std::pow(z, p) / static_cast<double>(x.size());
      if (i > 0) neighbours += z * x[i - 1] * std::sqrt(n) / static_cast<double>(x.size());
      EXPECT_LE(std::fabs(z), 3.5);
    }
    // Standard errors are at most sqrt(15 / 2^18) = 0.008; the fourth moment of four uniform numbers is 2.7.
    EXPECT_NEAR(moments[1], 0, 0.01);
    EXPECT_NEAR(moments[2], 1, 0.01);
    EXPECT_NEAR(moments[3], 0, 0.03);
    EXPECT_NEAR(moments[4], 2.7, 0.05);
    EXPECT_NEAR(neighbours, 0, 0.01);
  }
}

TEST(RandomCheckpoint, DependsOnSeedAndTensorNotOnTheNumberOfLayers) {
  const RandomCheckpoint one("llama-3.2-1b", 1, 5);
  const RandomCheckpoint two("llama-3.2-1b", 2, 5);
  const RandomCheckpoint other("llama-3.2-1b", 1, 6);
  EXPECT_EQ(block(one, gate, 0, 0, 2, 64), block(two, gate, 0, 0, 2, 64));
  EXPECT_NE(block(one, gate, 0, 0, 2, 64), block(other, gate, 0, 0, 2, 64));
  EXPECT_NE(block(two, gate, 0, 0, 2, 64), block(two, "model.layers.1.mlp.gate_proj.weight", 0, 0, 2, 64));
  EXPECT_NE(block(two, gate, 0, 0, 2, 64), block(two, "model.layers.0.mlp.up_proj.weight", 0, 0, 2, 64));
  EXPECT_EQ(one.fingerprint(), RandomCheckpoint("llama-3.2-1b", 1, 5).fingerprint());
  EXPECT_NE(one.fingerprint(), two.fingerprint());
  EXPECT_NE(one.fingerprint(), other.fingerprint());
}

TEST(RandomCheckpoint, HoldsOnesInNormsAndNumbersOfBf16) {
  const RandomCheckpoint model("llama-3.2-1b", 1, 0);
  EXPECT_EQ(block(model, "model.norm.weight", 0, 0, 1, 2048), std::vector<float>(2048, 1.0f));
  EXPECT_EQ(model.exact_type(), DType::bf16);
  for (const float x : block(model, gate, 0, 0, 4, 256)) EXPECT_EQ(x, to_float(to_bf16(x)));
  EXPECT_EQ(model.info(gate).bytes, index_t{8192} * 2048 * 2);
}

TEST(RandomCheckpoint, HoldsTheNearestNumbersOfACodec) {
  const RandomCheckpoint plain("llama-3.2-1b", 1, 0), coded("llama-3.2-1b", 1, 0, Codec::q8_0);
  EXPECT_FALSE(plain.codec(gate).has_value());
  EXPECT_FALSE(coded.codec("model.norm.weight").has_value());
  EXPECT_FALSE(coded.codec("model.embed_tokens.weight").has_value());
  ASSERT_EQ(coded.codec(gate), Codec::q8_0);
  const index_t rows = 3, cols = 64;
  std::vector<std::byte> codes(static_cast<std::size_t>(rows * code_bytes(Codec::q8_0, cols))),
      scales(static_cast<std::size_t>(rows * scale_bytes(Codec::q8_0, cols)));
  coded.read_encoded(gate, {5, 8}, {32, 96}, codes.data(), scales.data());
  std::vector<float> wide(static_cast<std::size_t>(rows * cols));
  widen(Codec::q8_0, codes.data(), scales.data(), rows, cols, wide.data());
  const std::vector<float> values = block(plain, gate, 5, 32, rows, cols);
  EXPECT_EQ(block(coded, gate, 5, 32, rows, cols), values);
  const float step = 3.5f / std::sqrt(2048.0f) / 127;  // of the largest number that there can be
  for (std::size_t i = 0; i < wide.size(); ++i) ASSERT_NEAR(wide[i], values[i], 0.51f * step);
}

TEST(RandomCheckpoint, SaysWhatItDoesNotHave) {
  const RandomCheckpoint model("llama-3.2-1b", 1, 0);
  EXPECT_FALSE(model.contains("lm_head.weight"));  // tied
  EXPECT_FALSE(model.contains("model.layers.1.mlp.gate_proj.weight"));
  EXPECT_THROW(model.info("lm_head.weight"), Error);
  EXPECT_THROW(model.tokenizer(), Error);
  EXPECT_THROW(RandomCheckpoint("llama-3.2-1b", 0, 0), Error);
  EXPECT_THROW(RandomCheckpoint("llama-3.2-1b", 17, 0), Error);
  EXPECT_THROW(RandomCheckpoint("gpt-2", std::nullopt, 0), Error);
}

}  // namespace
}  // namespace hack::model
