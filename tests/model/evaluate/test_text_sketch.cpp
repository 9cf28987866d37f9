// How much of a text is in another, by a sample of its runs of tokens.

#include "model/calibration/text_sketch.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace hack::model {
namespace {

std::vector<int> tokens(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int> ids(count);
  for (int& id : ids) id = static_cast<int>(random() % 30000);
  return ids;
}

TEST(TextSketch, FindsWhatIsSharedAndNothingElse) {
  const std::vector<int> text = tokens(40000, 1), other = tokens(40000, 2);
  const TextSketch sketch(text, std::ssize(text));
  EXPECT_EQ(sketch.share_of(text), 1);
  EXPECT_EQ(sketch.share_of(other), 0);
  std::vector<int> half(other.begin(), other.begin() + 20000);
  half.insert(half.end(), text.begin() + 5000, text.begin() + 25000);
  // About 256 / 2 runs are sampled of each half: 5 standard errors.
  EXPECT_NEAR(sketch.share_of(half), 0.5, 5 * std::sqrt(0.25 / 256));
}

TEST(TextSketch, SurvivesAsDigitsAndKnowsWindows) {
  const std::vector<int> text = tokens(300, 3);
  const TextSketch sketch(text, 100);
  EXPECT_EQ(sketch.digits().size(), 16 * std::min<std::size_t>(3 * (100 - 15), TextSketch::size));
  EXPECT_EQ(TextSketch::from_digits(sketch.digits()).digits(), sketch.digits());
  // A run across the border of two windows is in neither.
  EXPECT_EQ(sketch.share_of(std::span(text).subspan(92, TextSketch::run_tokens)), 0);
  EXPECT_EQ(sketch.share_of(std::span(text).subspan(100, TextSketch::run_tokens)), 1);
}

TEST(TextSketch, OfTwoTextsIsThatOfBoth) {
  for (const std::size_t count : {std::size_t{100}, std::size_t{5000}}) {
    const std::vector<int> text = tokens(count, 5), other = tokens(count, 6);
    std::vector<int> both = text;
    both.insert(both.end(), other.begin(), other.end());
    TextSketch sketch(text, std::ssize(text));
    sketch.add(TextSketch(other, std::ssize(other)));
    EXPECT_EQ(sketch.digits(), TextSketch(both, std::ssize(text)).digits());
    EXPECT_EQ(sketch.share_of(text), 1);
    EXPECT_EQ(sketch.share_of(other), 1);
  }
}

TEST(TextSketch, OfNothingFindsNothing) {
  const std::vector<int> text = tokens(100, 4);
  for (const char* digits : {"", "0", "not hex at all..", "ffffffffffffffff0000000000000000"}) {
    const TextSketch sketch = TextSketch::from_digits(digits);
    EXPECT_TRUE(sketch.is_empty()) << digits;
    EXPECT_EQ(sketch.share_of(text), 0);
  }
  EXPECT_EQ(TextSketch(text, 100).share_of(std::span(text).first(3)), 0);
}

}  // namespace
}  // namespace hack::model
