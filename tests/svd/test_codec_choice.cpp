#include "svd/choose/codec_choice.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include <gtest/gtest.h>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

constexpr Codec codecs[] = {Codec::q2_64, Codec::q3_64, Codec::q4_0, Codec::q8_0};

std::vector<MatrixCodecs> random_matrices(std::size_t count, std::mt19937& random) {
  std::uniform_real_distribution<double> real(0.1, 1.0);
  std::vector<MatrixCodecs> matrices;
  for (std::size_t m = 0; m < count; ++m) {
    MatrixCodecs& matrix = matrices.emplace_back(MatrixCodecs{std::to_string(m), real(random), {}});
    double bytes = 100 * real(random), error = real(random);
    for (const Codec codec : codecs) {
      matrix.options.push_back({codec, static_cast<index_t>(bytes), error});
      bytes += 100 * real(random);
      error *= real(random);
    }
    std::shuffle(matrix.options.begin(), matrix.options.end(), random);
  }
  return matrices;
}

/// The least loss of all choices that fit, by trying them.
double least_loss(index_t budget, std::span<const MatrixCodecs> matrices) {
  if (budget < 0) return HUGE_VAL;
  if (matrices.empty()) return 0;
  double least = HUGE_VAL;
  for (const MatrixCodecs::Option& option : matrices.front().options) {
    least = std::min(least,
                     matrices.front().weight * option.error + least_loss(budget - option.bytes, matrices.subspan(1)));
  }
  return least;
}

/// Bytes and loss of the codecs that were chosen.
std::pair<index_t, double> bytes_and_loss(const CodecChoice& choice, std::span<const MatrixCodecs> matrices) {
  index_t bytes = 0;
  double loss = 0;
  for (std::size_t m = 0; m < matrices.size(); ++m) {
    for (const MatrixCodecs::Option& option : matrices[m].options) {
      if (option.codec != choice.codecs[m]) continue;
      bytes += option.bytes;
      loss += matrices[m].weight * option.error;
    }
  }
  return {bytes, loss};
}

TEST(CodecChoice, IsWithinAStepOfTheBest) {
  std::mt19937 random(1);
  for (int problem = 0; problem < 50; ++problem) {
    const std::vector<MatrixCodecs> matrices = random_matrices(5, random);
    index_t least = 0, most = 0;
    double largest_step = 0;
    for (const MatrixCodecs& matrix : matrices) {
      const auto by_bytes = [](const auto& a, const auto& b) { return a.bytes < b.bytes; };
      const auto [low, high] = std::minmax_element(matrix.options.begin(), matrix.options.end(), by_bytes);
      least += low->bytes;
      most += high->bytes;
      largest_step = std::max(largest_step, matrix.weight * (low->error - high->error));
    }
    for (index_t budget = least; budget <= most; budget += (most - least) / 7) {
      const CodecChoice choice = choose_codecs(budget, matrices);
      const auto [bytes, loss] = bytes_and_loss(choice, matrices);
      EXPECT_EQ(choice.bytes, bytes);
      EXPECT_LE(bytes, budget);
      EXPECT_LE(loss, least_loss(budget, matrices) + largest_step);
    }
    const double loss = bytes_and_loss(choose_codecs(most, matrices), matrices).second;
    EXPECT_NEAR(loss, least_loss(most, matrices), 1e-12);
  }
}

TEST(CodecChoice, TakesNoLargerCodecThatIsNoBetter) {
  const std::vector<MatrixCodecs> matrices = {
      {"flat", 1, {{Codec::q2_64, 10, 1.0}, {Codec::q3_64, 20, 1.0}}},
      {"dent", 1, {{Codec::q2_64, 10, 1.0}, {Codec::q3_64, 20, 0.9}, {Codec::q4_0, 30, 0.1}}},
  };
  EXPECT_EQ(choose_codecs(1000, matrices).codecs, (std::vector{Codec::q2_64, Codec::q4_0}));
  EXPECT_EQ(choose_codecs(35, matrices).codecs, (std::vector{Codec::q2_64, Codec::q2_64}));  // a step is whole
}

TEST(CodecChoice, RefusesABudgetBelowTheSmallestCodecs) {
  const std::vector<MatrixCodecs> matrices = {{"one", 1, {{Codec::q4_0, 50, 1.0}}}};
  EXPECT_EQ(least_bytes(matrices), 50);
  EXPECT_EQ(choose_codecs(50, matrices).bytes, 50);
  EXPECT_THROW(choose_codecs(49, matrices), Error);
}

}  // namespace
}  // namespace hack::svd
