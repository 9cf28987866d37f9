#include "model/tokenizer/pre_tokenizer.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/tokenizer/tokenizer_scheme.hpp"
#include "model/tokenizer/unicode.hpp"
#include "tests/support/paths.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::model {
namespace {

using Words = std::vector<std::string>;

Words split(const std::vector<std::string>& patterns, std::string_view text) {
  Words words;
  PreTokenizer(patterns, "test").split(text, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

Words split_llama3(std::string_view text) { return split({llama3_pattern}, text); }
Words split_byte_level(std::string_view text) { return split({byte_level_pattern}, text); }

TEST(PreTokenizer, LeavesTextWholeWithoutPatterns) {
  EXPECT_EQ(split({}, "a b"), (Words{"a b"}));
  EXPECT_EQ(split({}, ""), Words{});
  EXPECT_EQ(split_llama3(""), Words{});
}

TEST(PreTokenizer, CutsAsGpt2Does) {
  EXPECT_EQ(split_byte_level("I'll go,  12 times"), (Words{"I", "'ll", " go", ",", " ", " 12", " times"}));
  EXPECT_EQ(split_byte_level("I'LL"), (Words{"I", "'", "LL"}));
  EXPECT_EQ(split_byte_level("a\n\nb  "), (Words{"a", "\n", "\n", "b", "  "}));
}

TEST(PreTokenizer, CutsAsLlama3Does) {
  EXPECT_EQ(split_llama3("I'LL go,  12345 times!\n\n x"),
            (Words{"I", "'LL", " go", ",", " ", " ", "123", "45", " times", "!\n\n", " x"}));
  EXPECT_EQ(split_llama3(" \n  \n a"), (Words{" \n  \n", " a"}));
  EXPECT_EQ(split_llama3("(word"), (Words{"(word"}));
}

TEST(PreTokenizer, FoldsCaseAsUnicodeDoes) {
  // U+017F, the long s, is an s in another case.
  EXPECT_EQ(split_llama3("a'\xC5\xBF"), (Words{"a", "'\xC5\xBF"}));
  EXPECT_EQ(split_byte_level("a'\xC5\xBF"), (Words{"a", "'", "\xC5\xBF"}));
}

// What Hugging Face's tokenizers make of it: tests/check_tokenizers.py --sample.
TEST(PreTokenizer, CutsMixedTextAsEachFamilyDoes) {
  const std::filesystem::path data = std::filesystem::path(HACK_SOURCE_DIR) / "tests/data/mixed.json";
  const auto sample = nlohmann::json::parse(testing::read_file(data));
  const std::pair<const char*, const char*> families[] = {
      {"GPT-2", "gpt-2"}, {"SmolLM2", "smollm"}, {"Llama-3", "llama-bpe"}, {"Qwen2", "qwen2"}, {"Tekken", "tekken"}};
  for (const auto& [family, scheme_name] : families) {
    const TokenizerScheme scheme = scheme_named(scheme_name, "test");
    const auto text = sample.at("text").get<std::string>();
    const Words words = split(scheme.patterns, scheme.composes ? std::string(composed(text)) : text);
    std::size_t sum = 0;
    for (std::size_t i = 0; i < words.size(); ++i) sum += (i + 1) * words[i].size();
    EXPECT_EQ((std::vector<std::size_t>{words.size(), sum}), sample.at("cuts").at(family)) << family;
  }
}

TEST(PreTokenizer, KnowsTheWhiteSpaceOfUnicode) {
  // No-break space, next line, line separator, ideographic space: one piece each side of the last of them.
  for (const std::string space : {"\xC2\xA0", "\xC2\x85", "\xE2\x80\xA8", "\xE3\x80\x80"}) {
    EXPECT_EQ(split_byte_level("!" + space + space + "!"), (Words{"!", space, space, "!"}));
  }
  // U+180E and U+200B are format characters, not white space.
  for (const std::string sign : {"\xE1\xA0\x8E", "\xE2\x80\x8B"}) {
    EXPECT_EQ(split_byte_level("!" + sign + sign + "!"), (Words{"!" + sign + sign + "!"}));
  }
}

TEST(PreTokenizer, KnowsLettersAndNumbersOfUnicode16) {
  const std::string letter = "\xF0\xB1\x8D\x90";    // U+31350, since Unicode 15
  const std::string short_letter = "\xE1\xB2\x89";  // U+1C89, since Unicode 16
  const std::string digit = "\xF0\x90\xB5\x80";     // U+10D40, since Unicode 16
  EXPECT_EQ(split_byte_level("a" + letter + short_letter + "b!"), (Words{"a" + letter + short_letter + "b", "!"}));
  EXPECT_EQ(split_byte_level("1" + digit + "!"), (Words{"1" + digit, "!"}));
}

TEST(PreTokenizer, AppliesPatternsInsideThePiecesOfTheOnesBefore) {
  // The digit is cut off first, so the space before it ends its piece and stays alone.
  EXPECT_EQ(split({R"(\p{N})", byte_level_pattern}, "on 12 a"), (Words{"on", " ", "1", "2", " a"}));
  EXPECT_EQ(split({R"(\p{N}+)", byte_level_pattern}, "on 12 a"), (Words{"on", " ", "12", " a"}));
}

TEST(PreTokenizer, CutsAtEmptyMatches) {
  EXPECT_EQ(split({"(?=[A-Z])"}, "aBcD"), (Words{"a", "Bc", "D"}));
  EXPECT_EQ(split({"x*"}, "axx\xC3\xA9z"), (Words{"a", "xx", "\xC3\xA9", "z"}));
}

TEST(PreTokenizer, RefusesWhatPcre2DoesNotTake) {
  try {
    PreTokenizer({"(unclosed"}, "some.json");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("some.json"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("(unclosed"), std::string::npos) << error.what();
  }
}

TEST(Unicode, StatesTheOffsetOfBytesThatAreNotUtf8) {
  const auto offset_of_fault = [](std::string_view text) {
    try {
      validate_utf8(text, "text");
    } catch (const Error& error) {
      const std::string message = error.what();
      const std::size_t at = message.find("byte ");
      return at == std::string::npos ? -1 : std::stoi(message.substr(at + 5));
    }
    return -1;
  };
  EXPECT_EQ(offset_of_fault(""), -1);
  EXPECT_EQ(offset_of_fault("gr\xC3\xBC\xC3\x9F"), -1);
  EXPECT_EQ(offset_of_fault("ab\xFF"), 2);
  EXPECT_EQ(offset_of_fault("\xC3\xBC\x80"), 2);          // continuation byte alone
  EXPECT_EQ(offset_of_fault("abc\xE2\x82"), 3);           // cut off
  EXPECT_EQ(offset_of_fault("a\xC0\x80"), 1);             // overlong
  EXPECT_EQ(offset_of_fault("a\xED\xA0\x80"), 1);         // surrogate
  EXPECT_EQ(offset_of_fault("abcd\xF4\x90\x80\x80"), 4);  // above U+10FFFF
}

TEST(Unicode, MeasuresWhiteSpaceAtBothEnds) {
  const std::string spaces = " \xC2\xA0\n\xE2\x80\xA8";
  EXPECT_EQ(leading_white_space(spaces + "a "), spaces.size());
  EXPECT_EQ(trailing_white_space(" a\xC3\xA9" + spaces), spaces.size());
  EXPECT_EQ(leading_white_space(spaces), spaces.size());
  EXPECT_EQ(trailing_white_space(spaces), spaces.size());
  EXPECT_EQ(leading_white_space(""), 0u);
  EXPECT_EQ(trailing_white_space("\xE1\xA0\x8E"), 0u);
}

}  // namespace
}  // namespace hack::model
