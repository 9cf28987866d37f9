#include "model/llama/sampler.hpp"

#include <algorithm>
#include <array>

#include <gtest/gtest.h>

#include "kernels/error.hpp"

namespace hack::model {
namespace {

int choose(const SamplerOptions& options, std::vector<float> logits, const std::vector<int>& seen = {}) {
  return Sampler(options).choose(logits, seen);
}

TEST(Sampler, IsGreedyWithoutATemperature) { EXPECT_EQ(choose({}, {1, 5, 3, 5}), 1); }

TEST(Sampler, PenalizesWhatWasSeenOnce) {
  // 4 / 2 = 2 falls behind 3; a token seen twice is penalized once.
  EXPECT_EQ(choose({.repetition_penalty = 2}, {4, 3, 1}, {0, 0}), 1);
  // -1 * 2 = -2 falls behind -1.5
  EXPECT_EQ(choose({.repetition_penalty = 2}, {-1, -1.5}, {0}), 1);
}

TEST(Sampler, RepeatsItselfWithTheSameSeed) {
  Sampler a({.temperature = 1, .seed = 7}), b({.temperature = 1, .seed = 7});
  for (int i = 0; i < 20; ++i) {
    std::vector<float> la(50, 0.0f), lb(50, 0.0f);
    EXPECT_EQ(a.choose(la, {}), b.choose(lb, {}));
  }
}

TEST(Sampler, DrawsInProportion) {
  // exp(ln 3) : exp(0) = 3 : 1; 4000 draws, standard deviation of the share 0.0068: five of them.
  Sampler sampler({.temperature = 1, .seed = 1});
  int first = 0;
  for (int i = 0; i < 4000; ++i) {
    std::vector<float> logits = {1.0986123f, 0.0f};
    first += sampler.choose(logits, {}) == 0;
  }
  EXPECT_NEAR(first / 4000.0, 0.75, 0.035);
}

TEST(Sampler, TopPLeavesTheUnlikelyOut) {
  Sampler sampler({.temperature = 1, .top_p = 0.7, .seed = 3});
  for (int i = 0; i < 200; ++i) {
    std::vector<float> logits = {0.0f, 2.0f, 1.9f, -1.0f};  // the two likeliest hold 0.86, the likeliest 0.46
    const int id = sampler.choose(logits, {});
    EXPECT_TRUE(id == 1 || id == 2);
  }
  EXPECT_EQ(choose({.temperature = 1, .top_p = 1e-9}, {0, 1, 0}), 1);
}

TEST(Sampler, TopKAndMinPLeaveTheUnlikelyOut) {
  Sampler first_two({.temperature = 1, .top_k = 2, .seed = 4}), close({.temperature = 0.5, .min_p = 0.3, .seed = 4});
  for (int i = 0; i < 200; ++i) {
    std::vector<float> logits = {0.0f, 2.0f, 1.9f, 1.8f};
    const int id = first_two.choose(logits, {});
    EXPECT_TRUE(id == 1 || id == 2);
    // Shares of the likeliest: exp(-0.5 / 0.5) = 0.37 stays, exp(-0.7 / 0.5) = 0.25 goes.
    logits = {1.5f, 2.0f, 1.3f, -1.0f};
    EXPECT_LT(close.choose(logits, {}), 2);
  }
  // Top-p counts within the first k: of 0.5 and 0.25 the first holds two thirds.
  EXPECT_EQ(choose({.temperature = 1, .top_p = 0.6, .top_k = 2}, {0.6931472f, 0, 0}), 0);
  EXPECT_EQ(choose({.temperature = 1, .min_p = 1}, {0, 1, 0}), 1);
}

TEST(Sampler, RefusesOptionsWithoutAMeaning) {
  EXPECT_THROW(Sampler({.temperature = -1}), Error);
  EXPECT_THROW(Sampler({.top_p = 0}), Error);
  EXPECT_THROW(Sampler({.top_k = -1}), Error);
  EXPECT_THROW(Sampler({.min_p = 1.5}), Error);
  EXPECT_THROW(Sampler({.repetition_penalty = 0}), Error);
}

}  // namespace
}  // namespace hack::model
