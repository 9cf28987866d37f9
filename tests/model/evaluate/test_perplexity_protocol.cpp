#include "model/evaluate/perplexity_protocol.hpp"

#include <cmath>
#include <fstream>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "tests/support/paths.hpp"

namespace hack::model {
namespace {

WindowPlan plan(const Protocol& protocol, index_t tokens, std::optional<index_t> context = {},
                std::optional<index_t> stride = {}, std::optional<index_t> limit = {}) {
  return plan_windows(protocol, tokens, context, stride, limit);
}

index_t scored(const WindowPlan& plan) {
  index_t n = 0;
  for (const Window& window : plan.windows) n += window.scored();
  return n;
}

TEST(PlanWindows, DropsTheTailOf2048) {
  const WindowPlan p = plan(find_protocol("2048"), 3 * 2048 + 5);
  ASSERT_EQ(p.windows.size(), 3u);
  EXPECT_EQ(p.windows[2].begin, 2 * 2048);
  EXPECT_EQ(scored(p), 3 * 2047);
}

TEST(PlanWindows, IsCutIntoSlicesThatMissNothing) {
  const WindowPlan whole = plan(find_protocol("hack"), 11 * 20, 20);
  for (index_t parts = 1; parts <= 11; ++parts) {
    index_t next = 0;
    for (index_t part = 0; part < parts; ++part) {
      const WindowPlan slice = slice_of(whole, part, parts);
      EXPECT_EQ(slice.first, next);
      EXPECT_NEAR(static_cast<double>(slice.windows.size()), 11.0 / static_cast<double>(parts), 1);
      for (const Window& window : slice.windows) EXPECT_EQ(window.begin, 20 * next++);
    }
    EXPECT_EQ(next, 11);
  }
  EXPECT_THROW(slice_of(whole, 0, 12), Error);
}

TEST(PlanWindows, CountsLlama3sWikiTextWindows) {
  // 289,077 tokens with BOS: 141 windows of 2048 and 564 of 512, as published.
  EXPECT_EQ(plan(find_protocol("2048"), 289077).windows.size(), 141u);
  EXPECT_EQ(plan(find_protocol("llama.cpp"), 289077).windows.size(), 564u);
}

TEST(PlanWindows, KeepsTheShorterLastWindowOfHackButNotASingleToken) {
  const WindowPlan p = plan(find_protocol("hack"), 512 + 10);
  ASSERT_EQ(p.windows.size(), 2u);
  EXPECT_EQ(p.windows[1].size(), 10);
  EXPECT_EQ(p.windows[1].scored(), 9);
  EXPECT_EQ(plan(find_protocol("hack"), 512 + 1).windows.size(), 1u);
}

TEST(PlanWindows, ScoresTheSecondHalfForLlamaCpp) {
  const WindowPlan p = plan(find_protocol("llama.cpp"), 512);
  EXPECT_EQ(p.windows[0].first_scored, 257);
  EXPECT_EQ(p.windows[0].scored(), 255);
}

TEST(PlanWindows, ScoresOnlyWhatIsFreshWithAStride) {
  const WindowPlan p = plan(find_protocol("stride"), 10, 6, 3);
  // tokens 0-5, then 3-8 (scores 6-8), then 6-9 (scores 9)
  ASSERT_EQ(p.windows.size(), 3u);
  EXPECT_EQ(p.windows[0].scored(), 5);
  EXPECT_EQ(p.windows[1].scored(), 3);
  EXPECT_EQ(p.windows[2].begin, 6);
  EXPECT_EQ(p.windows[2].scored(), 1);
  EXPECT_EQ(scored(plan(find_protocol("stride"), 1024 + 3 * 512 + 100, {}, {}, 4)), 1023 + 3 * 512);
}

TEST(PlanWindows, StrideEqualToTheContextStillNeedsACauseForEachToken) {
  const WindowPlan p = plan(find_protocol("stride"), 8, 4, 4);
  ASSERT_EQ(p.windows.size(), 2u);
  EXPECT_EQ(p.windows[1].first_scored, 1);
}

// lm-evaluation-harness's own example: tokens 0 … 9 behind a prefix, at most 4 inputs.
TEST(PlanWindows, OfLmEvalScoreEveryTokenOnceAndKeepTheLastContextFull) {
  const WindowPlan p = plan(find_protocol("lm-eval"), 1 + 10, 4);
  ASSERT_EQ(p.windows.size(), 3u);
  const auto inputs = [&](std::size_t w) { return std::pair(p.windows[w].begin, p.windows[w].end - 1); };
  EXPECT_EQ(inputs(0), std::pair(index_t{0}, index_t{4}));   // P 0 1 2, scored 0 1 2 3
  EXPECT_EQ(inputs(1), std::pair(index_t{4}, index_t{8}));   // 3 4 5 6, scored 4 5 6 7
  EXPECT_EQ(inputs(2), std::pair(index_t{6}, index_t{10}));  // 5 6 7 8, scored 8 9
  EXPECT_EQ(p.windows[1].first_scored, 1);
  EXPECT_EQ(p.windows[2].scored(), 2);
  for (index_t tokens = 1; tokens <= 13; ++tokens) {
    EXPECT_EQ(scored(plan(find_protocol("lm-eval"), 1 + tokens, 4)), tokens);
    for (const Window& window : plan(find_protocol("lm-eval"), 1 + tokens, 4).windows) EXPECT_LE(window.size(), 5);
  }
  EXPECT_THROW(plan(find_protocol("lm-eval"), 1, 4), Error);
}

TEST(PerWordAndByte, AreLmEvalsFormulas) {
  const TextPerplexity per = per_word_and_byte(6, 3, 12);
  EXPECT_DOUBLE_EQ(per.word_perplexity, std::exp(2));
  EXPECT_DOUBLE_EQ(per.byte_perplexity, std::exp(0.5));
  EXPECT_DOUBLE_EQ(per.bits_per_byte, 0.5 / std::log(2));
}

TEST(PlanWindows, RefusesWhatCannotBeScored) {
  EXPECT_THROW(plan(find_protocol("2048"), 2047), Error);
  EXPECT_THROW(plan(find_protocol("hack"), 1), Error);
  EXPECT_THROW(plan(find_protocol("hack"), 100, 1), Error);
  EXPECT_THROW(plan(find_protocol("hack"), 100, 10, 5), Error);
  EXPECT_THROW(plan(find_protocol("stride"), 100, 10, 11), Error);
  EXPECT_THROW(plan(find_protocol("hack"), 100, {}, {}, 0), Error);
  EXPECT_THROW(find_protocol("4096"), Error);
}

// The recipe for a new protocol: a row says all there is to say of it.
TEST(Protocol, IsOneRow) {
  const Protocol quarters{.name = "quarters",
                          .windows = "overlapping",
                          .scored_tokens = "the second half",
                          .context = 8,
                          .stride = 4,
                          .tail = Tail::dropped,
                          .scored = Scored::second_half,
                          .weighting = Weighting::by_window,
                          .bos = BosRule::once};
  const WindowPlan p = plan(quarters, 15);
  ASSERT_EQ(p.windows.size(), 2u);
  EXPECT_EQ(p.stride, 4);
  EXPECT_EQ(p.windows[1].begin, 4);
  EXPECT_EQ(p.windows[1].first_scored, 5);
  const Perplexity result = score(p, {{1, 2, 3}, {4, 5, 6}});
  EXPECT_DOUBLE_EQ(result.perplexity, std::exp(3.5));
  EXPECT_EQ(result.tokens_scored, 6);
}

TEST(Protocol, StandsInTheTutorialAsInItsRow) {
  std::ifstream page(HACK_SOURCE_DIR "/docs/tutorial.md");
  const std::string text(std::istreambuf_iterator<char>(page), {});
  for (const Protocol& protocol : protocols()) {
    const std::string row = fmt::format("| `{}`{} | {} tokens, {} | {} |\n", protocol.name,
                                        &protocol == protocols().data() ? " (default)" : "", protocol.context,
                                        protocol.windows, protocol.scored_tokens);
    EXPECT_NE(text.find(row), std::string::npos) << "docs/tutorial.md lacks\n" << row;
  }
}

TEST(Protocol, NamesAreThoseThatScriptsUse) {
  EXPECT_EQ(protocol_names(), (std::vector<std::string>{"2048", "hack", "llama.cpp", "stride", "lm-eval"}));
}

TEST(Score, TakesTheMeanOverTokens) {
  const WindowPlan p = plan(find_protocol("2048"), 6, 3);
  const Perplexity result = score(p, {{1.0f, 2.0f}, {3.0f, 4.0f}});
  EXPECT_DOUBLE_EQ(result.perplexity, std::exp(2.5));
  EXPECT_DOUBLE_EQ(result.nll_sum, 10.0);
  EXPECT_EQ(result.tokens_scored, 4);
  // variance of 1, 2, 3, 4 is 1.25; the error of the mean is sqrt(1.25 / 3)
  EXPECT_NEAR(result.standard_error, std::exp(2.5) * std::sqrt(1.25 / 3), 1e-12);
}

TEST(Score, WeightsWindowsOfHackByTheirTokens) {
  const WindowPlan p = plan(find_protocol("hack"), 5, 3);
  const Perplexity result = score(p, {{1.0f, 2.0f}, {5.0f}});
  EXPECT_DOUBLE_EQ(result.perplexity, std::exp((1.5 * 3 + 5.0 * 2) / 5));
  EXPECT_EQ(result.tokens_scored, 3);
}

}  // namespace
}  // namespace hack::model
