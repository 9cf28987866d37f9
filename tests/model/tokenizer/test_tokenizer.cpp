#include "model/tokenizer/tokenizer.hpp"

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "tests/support/paths.hpp"

namespace hack::model {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int>;

/// A folder of this process alone, gone at the end.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("hack-tokenizer-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

/// What an Error says; empty if `call` throws none.
std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

const std::vector<std::string> tokens = {"a", "b", "c",      "\u0120", "ab", "abc", "\u0120a", "bc",           "'",
                                         "s", "1", "2",      "\u010A", "'s", "12",  "aa",      "\u0120\u0120", "ca",
                                         "<", ">", "\u00C3", "\u00A9"};
// U+0120 is the space, U+010A the line end; U+00C3 and U+00A9 are the bytes of é, each by itself.
const std::vector<std::string> merges = {"a b", "ab c", "\u0120 a", "b c", "' s", "1 2", "a a", "\u0120 \u0120"};

/// GPT-2's arrangement over the tokens above, with <s> (22) and </s> (23) added.
Json small_json() {
  Json root;
  for (std::size_t id = 0; id < tokens.size(); ++id) root["model"]["vocab"][tokens[id]] = id;
  root["model"]["type"] = "BPE";
  root["model"]["merges"] = merges;
  root["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  root["decoder"] = {{"type", "ByteLevel"}};
  root["added_tokens"] = {{{"id", 22}, {"content", "<s>"}, {"special", true}},
                          {{"id", 23}, {"content", "</s>"}, {"special", true}}};
  return root;
}

Tokenizer read(const Json& root) { return Tokenizer::from_json(Folder().write("tokenizer.json", root.dump())); }
Ids encode(const Json& root, std::string_view text) { return read(root).encode(text, AddSpecial::no); }
Ids encode(std::string_view text) { return encode(small_json(), text); }

Json template_with(const Json& pieces) {
  return {{"type", "TemplateProcessing"},
          {"single", pieces},
          {"special_tokens", {{"<s>", {{"ids", {22}}}}, {"</s>", {{"ids", {23}}}}}}};
}
Json special(const char* name) { return {{"SpecialToken", {{"id", name}, {"type_id", 0}}}}; }
const Json text_a = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};

TEST(Tokenizer, MergesByRankThenFromTheLeft) {
  EXPECT_EQ(encode(""), Ids{});
  EXPECT_EQ(encode("abc"), (Ids{5}));  // "a b" stands before "b c"
  EXPECT_EQ(encode("bc"), (Ids{7}));
  EXPECT_EQ(encode("cab"), (Ids{2, 4}));
  EXPECT_EQ(encode("aaa"), (Ids{15, 0}));
  EXPECT_EQ(encode("aab"), (Ids{0, 4}));  // "a b" stands before "a a"
  EXPECT_EQ(encode("ababab"), (Ids{4, 4, 4}));
  EXPECT_EQ(encode(" a"), (Ids{6}));
  EXPECT_EQ(encode(" abc"), (Ids{3, 5}));  // "a b" stands before "Ġ a"
}

TEST(Tokenizer, MergesInsideWordsOnly) {
  EXPECT_EQ(encode("a'sb"), (Ids{0, 13, 1}));
  EXPECT_EQ(encode("b  b"), (Ids{1, 3, 3, 1}));
  EXPECT_EQ(encode("b  "), (Ids{1, 16}));
  EXPECT_EQ(encode("b\nb"), (Ids{1, 12, 1}));
}

TEST(Tokenizer, GivesRepeatedWordsTheSameIds) { EXPECT_EQ(encode("abc abc abc"), (Ids{5, 3, 5, 3, 5})); }

TEST(Tokenizer, TakesMergesAsPairs) {
  Json root = small_json();
  root["model"]["merges"] = Json::parse(R"([["a", "b"], ["ab", "c"]])");
  EXPECT_EQ(encode(root, "abcbc"), (Ids{5, 1, 2}));
}

TEST(Tokenizer, TakesWordsOfTheVocabularyWholeWhereAsked) {
  Json root = small_json();
  EXPECT_EQ(encode(root, "ca"), (Ids{2, 0}));
  root["model"]["ignore_merges"] = true;
  EXPECT_EQ(encode(root, "ca"), (Ids{17}));
  EXPECT_EQ(encode(root, "cab"), (Ids{2, 4}));
}

TEST(Tokenizer, CutsDigitsWhereAsked) {
  Json root = small_json();
  EXPECT_EQ(encode(root, "12"), (Ids{14}));
  const Json byte_level = root["pre_tokenizer"];
  root["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, byte_level}}};
  EXPECT_EQ(encode(root, "12"), (Ids{10, 11}));
}

TEST(Tokenizer, CutsByTheRegularExpressionOfTheFile) {
  Json root = small_json();
  root["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", llama3_pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  EXPECT_EQ(encode(root, "1212"), (Ids{14, 10, 11}));  // 121, 2
  EXPECT_EQ(encode(root, "a'sb"), (Ids{0, 13, 1}));
}

TEST(Tokenizer, TreatsBytesOutsideTheVocabularyAsTheFileSays) {
  Json root = small_json();
  EXPECT_EQ(encode(root, "a\xC3\xA9z"), (Ids{0, 20, 21}));
  EXPECT_EQ(encode(root, "azb"), (Ids{4}));  // nothing is left between a and b
  root["model"]["unk_token"] = "'";
  EXPECT_EQ(encode(root, "azb"), (Ids{0, 8, 1}));
}

TEST(Tokenizer, FindsAddedTokensLeftmostAndLongest) {
  Json root = small_json();
  EXPECT_EQ(encode(root, "a<s>b"), (Ids{0, 22, 1}));
  EXPECT_EQ(encode(root, "<s"), (Ids{18, 9}));
  EXPECT_EQ(encode(root, "<<s>>"), (Ids{18, 22, 19}));
  root["added_tokens"].push_back({{"id", 24}, {"content", "<s>a"}, {"special", false}, {"normalized", false}});
  root["added_tokens"].push_back({{"id", 25}, {"content", "b<s>"}, {"special", false}, {"normalized", false}});
  EXPECT_EQ(encode(root, "<s>ab"), (Ids{24, 1}));
  EXPECT_EQ(encode(root, "b<s>a"), (Ids{25, 0}));
}

TEST(Tokenizer, LooksForNormalizedTokensLast) {
  Json root = small_json();
  root["added_tokens"].push_back({{"id", 24}, {"content", "b<s>"}, {"special", false}, {"normalized", true}});
  EXPECT_EQ(encode(root, "b<s>"), (Ids{1, 22}));
}

TEST(Tokenizer, LetsAddedTokensTakeWhiteSpaceAlong) {
  Json root = small_json();
  root["added_tokens"][0]["lstrip"] = true;
  EXPECT_EQ(encode(root, "b  <s> b"), (Ids{1, 22, 3, 1}));
  root["added_tokens"][0]["rstrip"] = true;
  EXPECT_EQ(encode(root, "b  <s> \nb"), (Ids{1, 22, 1}));
  EXPECT_EQ(encode(root, " <s> <s> "), (Ids{22, 22}));
}

TEST(Tokenizer, PutsWhatTheTemplatePutsAroundTexts) {
  Json root = small_json();
  EXPECT_EQ(read(root).bos(), std::nullopt);
  EXPECT_EQ(read(root).encode("a", AddSpecial::yes), (Ids{0}));

  root["post_processor"] = template_with({special("<s>"), text_a, special("</s>")});
  EXPECT_EQ(read(root).bos(), 22);
  EXPECT_EQ(read(root).encode("a", AddSpecial::yes), (Ids{22, 0, 23}));
  EXPECT_EQ(read(root).encode("a", AddSpecial::no), (Ids{0}));
  EXPECT_EQ(read(root).encode("", AddSpecial::yes), (Ids{22, 23}));

  root["post_processor"] = {{"type", "Sequence"},
                            {"processors", {{{"type", "ByteLevel"}}, template_with({special("<s>"), text_a})}}};
  EXPECT_EQ(read(root).encode("a", AddSpecial::yes), (Ids{22, 0}));
}

TEST(Tokenizer, ReadsTheEndTokenBesideTheFile) {
  const Folder folder;
  const auto path = folder.write("tokenizer.json", small_json().dump());
  EXPECT_EQ(Tokenizer::from_json(path).eos(), std::nullopt);
  folder.write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  EXPECT_EQ(Tokenizer::from_json(path).eos(), 23);
  folder.write("tokenizer_config.json", R"({"eos_token": {"content": "<s>"}})");
  EXPECT_EQ(Tokenizer::from_json(path).eos(), 22);
  folder.write("tokenizer_config.json", R"({"eos_token": null})");
  EXPECT_EQ(Tokenizer::from_json(path).eos(), std::nullopt);
  folder.write("tokenizer_config.json", R"({"eos_token": 7})");
  EXPECT_NE(error_of([&] { Tokenizer::from_json(path); }).find("tokenizer_config.json"), std::string::npos);
}

TEST(Tokenizer, DecodesToBytes) {
  Json root = small_json();
  root["added_tokens"].push_back({{"id", 30}, {"content", "\u00E9 \u4E2D"}, {"special", false}});
  const Tokenizer tokenizer = read(root);
  EXPECT_EQ(tokenizer.size(), 31);
  EXPECT_EQ(tokenizer.decode(Ids{22, 6, 4, 12, 20, 21, 23}), "<s> aab\n\xC3\xA9</s>");
  EXPECT_EQ(tokenizer.decode(Ids{20}), "\xC3");
  EXPECT_EQ(tokenizer.decode(Ids{30}), "\xC3\xA9 \xE4\xB8\xAD");
  EXPECT_EQ(tokenizer.encode("a\xC3\xA9 \xE4\xB8\xAD"
                             "b",
                             AddSpecial::no),
            (Ids{0, 30, 1}));
  EXPECT_EQ(tokenizer.decode(Ids{24}), "");  // a hole below the added token's id
  EXPECT_EQ(tokenizer.decode(Ids{}), "");
  EXPECT_EQ(tokenizer.text(5), "abc");
  EXPECT_NE(error_of([&] { tokenizer.decode(Ids{31}); }).find("31"), std::string::npos);
  EXPECT_NE(error_of([&] { tokenizer.decode(Ids{-1}); }).find("-1"), std::string::npos);
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  const Tokenizer tokenizer = read(small_json());
  const std::string message = error_of([&] { tokenizer.encode("<s>ab\xFF", AddSpecial::no); });
  EXPECT_NE(message.find("byte 5"), std::string::npos) << message;
}

TEST(Tokenizer, EncodesOneLongWord) {
  // A merge loop that is quadratic in the word's length would outlast the deadline of the test program.
  const Ids ids = encode(std::string(std::size_t{1} << 20, 'a'));
  EXPECT_EQ(ids, Ids(std::size_t{1} << 19, 15));
}

TEST(Tokenizer, ReturnsTheTextItWasGiven) {
  std::ifstream file(std::string(HACK_SOURCE_DIR) + "/../shared/data/wiki.test.raw", std::ios::binary);
  if (!file) GTEST_SKIP() << "../shared/data/wiki.test.raw is not there";
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  TokenizerDescription description;
  description.source = "test";
  description.patterns = {llama3_pattern};
  // All 256 characters of the alphabet, in the order of code points: ids need not be bytes.
  const auto add = [&](char32_t c) {
    std::string entry;
    if (c >= 0x80) entry.push_back(static_cast<char>(0xC0 | c >> 6));
    entry.push_back(static_cast<char>(c < 0x80 ? c : 0x80 | (c & 0x3F)));
    description.vocabulary.emplace_back(entry, static_cast<std::int64_t>(description.vocabulary.size()));
  };
  for (char32_t c = 33; c < 0x144; ++c) {
    if (c <= 126 || (c >= 161 && c != 173)) add(c);
  }
  ASSERT_EQ(description.vocabulary.size(), 256u);
  const Tokenizer tokenizer(description);
  const Ids ids = tokenizer.encode(text, AddSpecial::yes);
  EXPECT_EQ(ids.size(), text.size());
  EXPECT_EQ(tokenizer.decode(ids), text);
}

/// Says what is changed in a good file and what the Error must name.
struct Damage {
  const char* name;
  std::function<void(Json&)> apply;
  const char* message;
};

/// Each one alone is an Error that names the file and what is wrong.
void expect_refused(const std::vector<Damage>& damages) {
  for (const Damage& damage : damages) {
    Json root = small_json();
    damage.apply(root);
    const std::string message = error_of([&] { read(root); });
    EXPECT_NE(message.find("tokenizer.json"), std::string::npos) << damage.name << ": " << message;
    EXPECT_NE(message.find(damage.message), std::string::npos) << damage.name << ": " << message;
  }
}

TEST(Tokenizer, RefusesDamagedVocabularies) {
  expect_refused({
      {"model type", [](Json& j) { j["model"]["type"] = "Unigram"; }, "Unigram"},
      {"no model", [](Json& j) { j.erase("model"); }, "model"},
      {"list as model", [](Json& j) { j["model"] = Json::array(); }, "tokenizer.json"},
      {"byte fallback", [](Json& j) { j["model"]["byte_fallback"] = true; }, "byte_fallback"},
      {"affix", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, "end_of_word_suffix"},
      {"dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, "dropout"},
      {"unknown token", [](Json& j) { j["model"]["unk_token"] = "?"; }, "'?'"},
      {"empty",
       [](Json& j) {
         j["model"] = {{"vocab", Json::object()}, {"merges", Json::array()}};
         j["added_tokens"] = Json::array();
       },
       "empty"},
      {"list as vocabulary", [](Json& j) { j["model"]["vocab"] = Json::array({1}); }, "tokenizer.json"},
      {"id negative", [](Json& j) { j["model"]["vocab"]["a"] = -1; }, "'a'"},
      {"id fraction", [](Json& j) { j["model"]["vocab"]["a"] = 1.5; }, "'a'"},
      {"id text", [](Json& j) { j["model"]["vocab"]["a"] = "1"; }, "'a'"},
      {"id huge", [](Json& j) { j["model"]["vocab"]["a"] = 4000000000u; }, "'a'"},
      {"id beyond 63 bits", [](Json& j) { j["model"]["vocab"]["a"] = UINT64_MAX; }, "'a'"},
      {"id twice", [](Json& j) { j["model"]["vocab"]["b"] = 0; }, "id 0"},
      {"added id of another", [](Json& j) { j["added_tokens"][0]["id"] = 0; }, "'<s>'"},
      {"added id huge", [](Json& j) { j["added_tokens"][0]["id"] = 1 << 30; }, "'<s>'"},
      {"added twice", [](Json& j) { j["added_tokens"][1]["content"] = "<s>"; }, "'<s>'"},
      {"added empty", [](Json& j) { j["added_tokens"][0]["content"] = ""; }, "22"},
      {"added with two ids", [](Json& j) { j["added_tokens"][0]["content"] = "a"; }, "'a'"},
      {"added single word", [](Json& j) { j["added_tokens"][0]["single_word"] = true; }, "single_word"},
      {"merge of a stranger", [](Json& j) { j["model"]["merges"].push_back("a z"); }, "'az'"},
      {"merge into a stranger", [](Json& j) { j["model"]["merges"].push_back("c c"); }, "'cc'"},
      {"merge twice", [](Json& j) { j["model"]["merges"].push_back("a b"); }, "twice"},
      {"merge of one", [](Json& j) { j["model"]["merges"].push_back("ab"); }, "'ab'"},
      {"merge of three",
       [](Json& j) {
         j["model"]["merges"].push_back({"a", "b", "c"});
       },
       "3 tokens"},
      {"merge of a number", [](Json& j) { j["model"]["merges"].push_back(5); }, "tokenizer.json"},
  });
}

TEST(Tokenizer, RefusesUnknownSteps) {
  expect_refused({
      {"normalizer",
       [](Json& j) {
         j["normalizer"] = {{"type", "NFKC"}};
       },
       "NFKC"},
      {"no pre-tokenizer", [](Json& j) { j["pre_tokenizer"] = nullptr; }, "pre-tokenizer"},
      {"pre-tokenizer", [](Json& j) { j["pre_tokenizer"]["type"] = "Whitespace"; }, "Whitespace"},
      {"prefix space", [](Json& j) { j["pre_tokenizer"]["add_prefix_space"] = true; }, "add_prefix_space"},
      {"digits only",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Digits"}};
       },
       "ByteLevel"},
      {"regular expression",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Split"}, {"behavior", "Isolated"}, {"pattern", {{"Regex", "("}}}};
       },
       "pre-tokenizer"},
      {"split behavior",
       [](Json& j) {
         j["pre_tokenizer"] = {{"type", "Split"}, {"behavior", "Removed"}, {"pattern", {{"Regex", "a"}}}};
       },
       "Removed"},
      {"decoder", [](Json& j) { j["decoder"]["type"] = "Metaspace"; }, "decoder Metaspace"},
      {"post-processor",
       [](Json& j) {
         j["post_processor"] = {{"type", "BertProcessing"}};
       },
       "BertProcessing"},
      {"template without text", [](Json& j) { j["post_processor"] = template_with(Json::array({special("<s>")})); },
       "template"},
      {"template of a stranger",
       [](Json& j) {
         j["post_processor"] = template_with({special("<x>"), text_a});
       },
       "<x>"},
      {"template id",
       [](Json& j) {
         j["post_processor"] = template_with({special("<s>"), text_a});
         j["post_processor"]["special_tokens"]["<s>"]["ids"] = {99};
       },
       "99"},
  });
}

TEST(Tokenizer, RefusesWhatIsNotJson) {
  const Folder folder;
  for (const std::string content : {"", "{", "[]", "7", "{\"model\": {\"vocab\": {\"a\": 0, \"a\": 1}}}"}) {
    const auto path = folder.write("tokenizer.json", content);
    EXPECT_NE(error_of([&] { Tokenizer::from_json(path); }).find("tokenizer.json"), std::string::npos) << content;
  }
  EXPECT_NE(error_of([&] { Tokenizer::from_json(folder.write("x", "") / "absent.json"); }), "");
}

}  // namespace
}  // namespace hack::model
