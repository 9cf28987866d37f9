// Multiple choice: lines of a file, what is encoded of them, and scores counted by hand.

#include "model/evaluate/choice_requests.hpp"

#include <cmath>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "model/evaluate/python_text.hpp"
#include "model/tokenizer/open_tokenizer.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::model {
namespace {

TEST(PythonText, CountsWordsAsRegularExpressionsSplit) {
  EXPECT_EQ(count_words(""), 1);
  EXPECT_EQ(count_words("one"), 1);
  EXPECT_EQ(count_words(" one  two\n"), 4);
  EXPECT_EQ(count_words("a\u00A0b\u2003c\u3000\u2028d"), 4);
  EXPECT_EQ(count_words("a\x1C\x1F"
                        "b\u200Bc"),
            2);  // a zero-width space is none
  EXPECT_EQ(count_words("\u00E9t\u00E9 \u65E5\u672C"), 2);
}

TEST(PythonText, CountsCharacters) {
  EXPECT_EQ(count_characters("\u00E9t\u00E9 \u65E5\U0001F600"), 6);
  EXPECT_EQ(count_characters(""), 0);
}

TEST(PythonText, FindsSpaceAtTheEnd) {
  EXPECT_EQ(trailing_space("a b \n"), 2u);
  EXPECT_EQ(trailing_space("a\x1D\u00A0 "), 4u);
  EXPECT_EQ(trailing_space("  "), 2u);
  EXPECT_EQ(trailing_space("a"), 0u);
}

TEST(PythonText, LeavesOutCharactersThatAreCut) {
  const std::string text = "\u65E5b\u00E9";
  EXPECT_EQ(whole_characters(text), text);
  EXPECT_EQ(whole_characters(std::string_view(text).substr(1, 4)), "b");
  EXPECT_EQ(whole_characters(std::string_view(text).substr(1, 2)), "");
  EXPECT_EQ(whole_characters(""), "");
}

TEST(ChoiceItems, AreObjectsALine) {
  const std::vector<ChoiceItem> items = read_choice_items(
      "{\"context\": \"c\", \"choices\": [\"x\", \"y\"], \"answer\": 1, \"id\": 7}\r\n\n"
      "{\"question\": \"q\", \"choices\": [\"x\", \"y\", \"z\"], \"answer\": 0, \"task\": \"t\"}",
      "file");
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].task, "file");
  EXPECT_EQ(items[0].answer, 1);
  EXPECT_EQ(items[1].task, "t");
  EXPECT_EQ(items[1].context, "q");
  EXPECT_EQ(items[1].choices.size(), 3u);
}

TEST(ChoiceItems, NameTheLineThatIsWrong) {
  const std::string good = "{\"context\": \"c\", \"choices\": [\"x\", \"y\"], \"answer\": 1}\n";
  const auto fails = [&](const std::string& line, const std::string& message) {
    try {
      read_choice_items(good + line, "t");
      FAIL() << line;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
  };
  fails("nonsense", "no JSON object");
  fails("[1]", "no JSON object");
  fails("{\"choices\": [\"x\", \"y\"], \"answer\": 1}", "no \"context\"");
  fails("{\"context\": 1, \"choices\": [\"x\", \"y\"], \"answer\": 1}", "\"context\" is no text");
  fails("{\"context\": \"c\", \"answer\": 1}", "no \"choices\"");
  fails("{\"context\": \"c\", \"choices\": [\"x\"], \"answer\": 0}", "two or more");
  fails("{\"context\": \"c\", \"choices\": [\"x\", 2], \"answer\": 0}", "a choice is no text");
  fails("{\"context\": \"c\", \"choices\": [\"x\", \"\"], \"answer\": 0}", "a choice is empty");
  for (const char* answer : {"2", "-1", "\"0\"", "0.5", "null"}) {
    fails(std::string("{\"context\": \"c\", \"choices\": [\"x\", \"y\"], \"answer\": ") + answer + "}", "from 0 to 1");
  }
  EXPECT_THROW(read_choice_items("\n \n", "t"), Error);
  EXPECT_THROW(read_choice_items("\xFF", "t"), Error);
}

TEST(ChoiceScores, AreCountedByTokenCharacterAndByte) {
  // Losses 3 and 2: the second is likelier. A character: 3/6 and 2/2. A byte: 3/6 and 2/3.
  const std::vector<ChoiceItem> items = {
      {"a", "c", {"ninety", "\u00E9t"}, 0}, {"b", "c", {"x", "y"}, 1}, {"a", "c", {"x", "y"}, 1}};
  const std::vector<ChoiceScore> scores = score_choices(items, {{1, 2}, {2}, {1}, {1}, {0.5f, 0.5f}, {0.25f}});
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_EQ(scores[0].task, "a");
  EXPECT_EQ(scores[0].items, 2);
  EXPECT_DOUBLE_EQ(scores[0].acc.value, 0.5);
  EXPECT_DOUBLE_EQ(scores[0].acc_norm.value, 1);
  EXPECT_DOUBLE_EQ(scores[0].acc_bytes.value, 1);
  EXPECT_DOUBLE_EQ(scores[0].acc.standard_error, 0.5);  // of 0 and 1: sqrt(1/2) / sqrt(2)
  EXPECT_DOUBLE_EQ(scores[0].acc_norm.standard_error, 0);
  // The first of equals.
  EXPECT_EQ(scores[1].acc.value, 0);
  EXPECT_LT(scores[1].acc.standard_error, 0);
}

class EncodedChoices : public ::testing::Test {
 protected:
  Tokenizer tokenizer(bool adds_bos) const {
    testing::TinyModel tiny;
    tiny.adds_bos = adds_bos;
    testing::write_hf(tiny, folder_ / "model");
    return open_tokenizer(folder_ / "model");
  }

  testing::TemporaryDirectory folder_;
};

std::string scored_text(const ChoiceRequests& requests, const Tokenizer& tokenizer, std::size_t window) {
  const Window& at = requests.plan.windows[window];
  return tokenizer.decode(std::span(requests.ids).subspan(at.begin + at.first_scored, at.scored()));
}

TEST_F(EncodedChoices, ScoreTheChoiceAndTheSpaceBeforeIt) {
  const Tokenizer tokens = tokenizer(false);
  const ChoiceRequests requests =
      encode_choices({{"t", "Where?", {"here", "there"}, 0}, {"t", "Then \n", {"x", "y"}, 0}}, tokens, 100);
  ASSERT_EQ(requests.plan.windows.size(), 4u);
  EXPECT_EQ(scored_text(requests, tokens, 0), " here");
  EXPECT_EQ(scored_text(requests, tokens, 1), " there");
  EXPECT_EQ(scored_text(requests, tokens, 2), " \n x");  // white space of the context goes to the choice
  EXPECT_EQ(requests.plan.windows[1].begin, requests.plan.windows[0].end);
  EXPECT_EQ(tokens.decode(std::span(requests.ids).first(requests.plan.windows[0].end)), "Where? here");
  EXPECT_EQ(requests.truncated, 0);
}

TEST_F(EncodedChoices, BeginWithBosWhereTheTokenizerHasOne) {
  const Tokenizer tokens = tokenizer(true);
  const ChoiceRequests requests =
      encode_choices({{"t", "Where?", {"here", "there"}, 0}, {"t", " ", {"x", "y"}, 0}}, tokens, 100);
  EXPECT_EQ(requests.ids[0], testing::tiny_end_id);
  const Window& empty = requests.plan.windows[2];
  EXPECT_EQ(requests.ids[empty.begin], testing::tiny_end_id);
  EXPECT_EQ(empty.first_scored, 1);
  EXPECT_EQ(scored_text(requests, tokens, 2), "  x");
}

TEST_F(EncodedChoices, LoseTheBeginningOfLongContexts) {
  const Tokenizer tokens = tokenizer(false);
  const std::vector<ChoiceItem> items = {{"t", "0123456789", {"ab", "c"}, 0}};
  const ChoiceRequests requests = encode_choices(items, tokens, 5);
  EXPECT_EQ(requests.truncated, 2);
  EXPECT_EQ(requests.plan.context, 5);
  EXPECT_EQ(requests.plan.windows[0].size(), 6);
  EXPECT_EQ(scored_text(requests, tokens, 0), " ab");
  EXPECT_EQ(tokens.decode(std::span(requests.ids).first(6)), "789 ab");
  EXPECT_THROW(encode_choices(items, tokens, 2), Error);
}

}  // namespace
}  // namespace hack::model
