// BPE of SentencePiece, from tokenizer.json, tokenizer.model and GGUF: ids as Hugging Face's tokenizers, sentencepiece
// and llama.cpp give them.

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/checkpoint/gguf_writer.hpp"
#include "model/tokenizer/open_tokenizer.hpp"
#include "model/tokenizer/tokenizer_writers.hpp"
#include "tests/support/gguf_writer.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::model {
namespace {

using hack::testing::TemporaryDirectory;
using hack::testing::write_file;
using Ids = std::vector<int>;
using Json = nlohmann::json;

struct Piece {
  std::string text;
  float score;
  int type;
};

/// <unk>, <s>, </s>, the bytes (3 to 258), then text: merged pieces by falling score, characters behind them.
std::vector<Piece> pieces() {
  std::vector<Piece> out = {{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}};
  constexpr char digits[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    out.push_back({std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", 0, 6});
  }
  float score = 0;
  for (const char* text :
       {"▁t", "he", "▁the", "ab", "▁▁", "bc", "abc", "é", "▁", "t", "h", "e", "a", "b", "c", "<", "s"})
    out.push_back({text, score--, 1});
  return out;
}
// Ids of the text pieces.
enum Id { space_t = 259, he, the, ab, spaces, bc, abc, e_acute, space, t, h, e, a, b, c, less, s };

int byte_id(int byte) { return 3 + byte; }

/// Merges in the order of scores, as converters write them.
std::vector<std::string> merges() { return {"▁ t", "h e", "▁t he", "a b", "▁ ▁", "b c", "a bc", "ab c"}; }

Json json_file(bool in_normalizer, const char* scheme, bool splits) {
  Json root;
  int id = 0;
  for (const Piece& piece : pieces()) root["model"]["vocab"][piece.text] = id++;
  root["model"].update(
      {{"type", "BPE"}, {"byte_fallback", true}, {"fuse_unk", true}, {"unk_token", "<unk>"}, {"merges", merges()}});
  if (in_normalizer) {
    root["normalizer"] = {{"type", "Sequence"},
                          {"normalizers",
                           {{{"type", "Prepend"}, {"prepend", "▁"}},
                            {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}};
  } else {
    root["pre_tokenizer"] = {
        {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", splits}};
  }
  root["decoder"] = {{"type", "Sequence"},
                     {"decoders",
                      {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
                       {{"type", "ByteFallback"}},
                       {{"type", "Fuse"}},
                       {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
  for (const char* text : {"<unk>", "<s>", "</s>"}) {
    root["added_tokens"].push_back(
        {{"id", root["model"]["vocab"][text]}, {"content", text}, {"special", true}, {"normalized", false}});
  }
  root["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
                            {"special_tokens", {{"<s>", {{"ids", {1}}}}}}};
  return root;
}

Tokenizer from_json(const Json& root) {
  const TemporaryDirectory directory;
  write_file(directory / "tokenizer.json", root.dump());
  return open_tokenizer(directory.path());
}

Ids with_bos(Ids ids) {
  ids.insert(ids.begin(), 1);
  return ids;
}

/// What the three ways in have in common.
void expect_common_ids(const Tokenizer& tokenizer) {
  const auto encode = [&](std::string_view text) { return tokenizer.encode(text, AddSpecial::yes); };
  EXPECT_EQ(encode("the abc"), with_bos({the, space, abc}));
  EXPECT_EQ(encode("abc"), with_bos({space, abc})) << "ab stands before bc";
  EXPECT_EQ(encode("é"), with_bos({space, e_acute}));
  EXPECT_EQ(encode("ü"), with_bos({space, byte_id(0xC3), byte_id(0xBC)}));
  EXPECT_EQ(encode("a\n"), with_bos({space, a, byte_id('\n')}));
  EXPECT_EQ(encode("<0x0A>"),
            with_bos({space, less, byte_id('0'), byte_id('x'), byte_id('0'), byte_id('A'), byte_id('>')}))
      << "a look-alike of a byte";
  EXPECT_EQ(encode(""), with_bos({}));
  EXPECT_EQ(encode("<s"), with_bos({space, less, s}));
  EXPECT_EQ(tokenizer.decode(Ids{the, space, abc, byte_id(0xC3), byte_id(0xBC), 2}), "the abcü</s>");
  EXPECT_EQ(tokenizer.ends(), Ids{2});
}

TEST(SentencePieces, PutAMarkBeforeEveryPieceWhereItIsANormalizer) {
  const Tokenizer tokenizer = from_json(json_file(true, "", false));
  expect_common_ids(tokenizer);
  EXPECT_EQ(tokenizer.encode(" the", AddSpecial::no), (Ids{space, the})) << "t joins its own mark first";
  EXPECT_EQ(tokenizer.encode("   ", AddSpecial::no), (Ids{spaces, spaces}));
  EXPECT_EQ(tokenizer.encode("a</s>a", AddSpecial::no), (Ids{space, a, 2, space, a}));
}

TEST(SentencePieces, PutAMarkByTheSchemeOfMetaspace) {
  const Tokenizer first = from_json(json_file(false, "first", false));
  expect_common_ids(first);
  EXPECT_EQ(first.encode("a</s>a", AddSpecial::no), (Ids{space, a, 2, a}));
  EXPECT_EQ(first.encode("</s>a", AddSpecial::no), (Ids{2, a}));
  EXPECT_EQ(first.encode(" the", AddSpecial::no), (Ids{the})) << "there is one";
  const Tokenizer always = from_json(json_file(false, "always", false));
  EXPECT_EQ(always.encode("a</s>a", AddSpecial::no), (Ids{space, a, 2, space, a}));
  const Tokenizer never = from_json(json_file(false, "never", true));
  EXPECT_EQ(never.encode("a  a", AddSpecial::no), (Ids{a, space, space, a})) << "cut in front of each mark";
}

TEST(SentencePieces, LookForNormalizedTokensInWhatTheNormalizerMakes) {
  Json root = json_file(true, "", false);
  for (Json& token : root["added_tokens"]) token["normalized"] = true;
  const Tokenizer tokenizer = from_json(root);
  EXPECT_EQ(tokenizer.encode("<s>a", AddSpecial::no), (Ids{1, a})) << "the mark in front is its own";
  EXPECT_EQ(tokenizer.encode("a<s>", AddSpecial::no), (Ids{space, a, less, s, byte_id('>')}));
  EXPECT_EQ(tokenizer.decode(Ids{a, 1}), "a <s>");
  EXPECT_EQ(tokenizer.ends(), Ids{2});
}

TEST(SentencePieces, WithoutBytesUnknownCharactersAreOneToken) {
  Json root = json_file(true, "", false);
  root["model"]["byte_fallback"] = false;
  EXPECT_EQ(from_json(root).encode("aüüa", AddSpecial::no), (Ids{space, a, 0, a}));
  root["model"]["fuse_unk"] = false;
  EXPECT_EQ(from_json(root).encode("aüüa", AddSpecial::no), (Ids{space, a, 0, 0, a}));
}

TEST(SentencePieces, TakeTimeThatGrowsWithTheLengthAlone) {
  // A merge loop that is quadratic in the word's length would outlast the deadline of the test program.
  const std::size_t n = std::size_t{1} << 19;
  std::string text;
  for (std::size_t i = 0; i < n; ++i) text += "ab";
  Ids expected(n + 1, ab);
  expected[0] = space;
  EXPECT_EQ(from_json(json_file(true, "", false)).encode(text, AddSpecial::no), expected);
}

TEST(SentencePieces, OfGgufFilesAreJoinedByScores) {
  hack::testing::GgufWriter writer;
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<std::int32_t> types;
  for (const Piece& piece : pieces()) {
    texts.push_back(piece.text);
    scores.push_back(piece.score);
    types.push_back(piece.type);
  }
  writer.add_text("tokenizer.ggml.model", "llama");
  writer.add_texts("tokenizer.ggml.tokens", texts);
  writer.add_numbers("tokenizer.ggml.scores", scores);
  writer.add_integers("tokenizer.ggml.token_type", types);
  writer.add_integer("tokenizer.ggml.bos_token_id", 1);
  writer.add_integer("tokenizer.ggml.eos_token_id", 2);
  writer.add_integer("tokenizer.ggml.unknown_token_id", 0);
  const TemporaryDirectory directory;
  write_file(directory / "a.gguf", writer.bytes() + std::string(64, '\0'));
  const Tokenizer tokenizer = open_tokenizer(directory / "a.gguf");
  expect_common_ids(tokenizer);
  EXPECT_EQ(tokenizer.encode("a</s>a", AddSpecial::no), (Ids{space, a, 2, space, a}));
  EXPECT_EQ(tokenizer.encode("<unk>", AddSpecial::no), Ids{0});
  writer.add_flag("tokenizer.ggml.add_space_prefix", false);
  writer.add_flag("tokenizer.ggml.add_bos_token", false);
  write_file(directory / "a.gguf", writer.bytes() + std::string(64, '\0'));
  EXPECT_EQ(open_tokenizer(directory / "a.gguf").encode("abc", AddSpecial::yes), Ids{abc});
}

TokenizerDescription description_of(const Json& root) {
  const TemporaryDirectory directory;
  write_file(directory / "tokenizer.json", root.dump());
  return read_tokenizer_json(directory / "tokenizer.json");
}

/// The tokenizer of a GGUF file that the description is written to.
Tokenizer sent(const TokenizerDescription& description, std::optional<std::string>* remark = nullptr) {
  const TemporaryDirectory directory;
  GgufWriter writer(directory / "a.gguf");
  const auto said = add_tokenizer(writer, description, std::ssize(description.vocabulary) + 2, {2});
  writer.finish();
  if (remark != nullptr) *remark = said;
  return open_tokenizer(directory / "a.gguf");
}

std::string obstacle_of(const TokenizerDescription& description) {
  try {
    sent(description);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(SentencePieces, LeaveInGgufFilesWithScores) {
  std::optional<std::string> remark;
  const Tokenizer tokenizer = sent(description_of(json_file(true, "", false)), &remark);
  expect_common_ids(tokenizer);
  EXPECT_EQ(tokenizer.encode("a</s>a", AddSpecial::no), (Ids{space, a, 2, space, a}));
  EXPECT_EQ(tokenizer.size(), s + 3) << "unused tokens up to the model's vocabulary";
  EXPECT_FALSE(remark.has_value());
  expect_common_ids(sent(description_of(json_file(false, "first", false)), &remark));
  EXPECT_TRUE(remark.has_value()) << "llama.cpp puts a space behind special tokens too";
  EXPECT_EQ(sent(description_of(json_file(false, "never", false))).encode("abc", AddSpecial::no), Ids{abc});
}

TEST(SentencePieces, SayWhyTheyCannotLeaveInGgufFiles) {
  const TokenizerDescription whole = description_of(json_file(true, "", false));
  TokenizerDescription other = whole;
  other.merges.pop_back();
  EXPECT_NE(obstacle_of(other).find("no order of pieces"), std::string::npos) << "one way to make abc is not there";
  other = whole;
  std::swap(other.merges[6], other.merges[5]);
  EXPECT_NE(obstacle_of(other).find("no order of pieces"), std::string::npos) << "bc stands between two for abc";
  other = whole;
  other.patterns = {"a"};
  EXPECT_NE(obstacle_of(other).find("cut by patterns"), std::string::npos);
  other = description_of(json_file(false, "first", true));
  EXPECT_NE(obstacle_of(other).find("cut by patterns"), std::string::npos) << "a piece of two marks";
  other = whole;
  other.vocabulary[5].first = "five";
  EXPECT_NE(obstacle_of(other).find("without bytes"), std::string::npos);
}

std::string varint(std::uint64_t x) {
  std::string out;
  for (; x >= 0x80; x >>= 7) out += static_cast<char>(x | 0x80);
  return out + static_cast<char>(x);
}

/// A field of a protocol buffer: a varint, or bytes.
std::string field(int number, int value) { return varint(number * 8u) + varint(static_cast<std::uint64_t>(value)); }
std::string field(int number, const std::string& bytes) {
  return varint(number * 8u + 2) + varint(bytes.size()) + bytes;
}

struct ModelFile {
  int kind = 2;
  std::string normalizer = field(3, 1) + field(4, 0) + field(5, 1);
  std::vector<Piece> content = pieces();

  std::string bytes() const {
    std::string out;
    for (const Piece& piece : content) {
      std::string score(4, '\0');
      std::memcpy(score.data(), &piece.score, 4);
      out += field(1, field(1, piece.text) + static_cast<char>(2 << 3 | 5) + score + field(3, piece.type));
    }
    return out + field(2, field(3, kind) + field(35, 1)) + field(3, normalizer);
  }
  Tokenizer open(const std::string& config = "") const {
    const TemporaryDirectory directory;
    write_file(directory / "tokenizer.model", bytes());
    if (!config.empty()) write_file(directory / "tokenizer_config.json", config);
    return open_tokenizer(directory.path());
  }
  std::string error() const {
    try {
      open();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST(SentencePieces, OfModelFilesAreReadWithWhatStandsBeside) {
  ModelFile file;
  expect_common_ids(file.open());
  EXPECT_EQ(file.open().encode("a</s>a", AddSpecial::no), (Ids{space, a, 2, space, a}));
  const Tokenizer other = file.open(
      R"({"legacy": false, "add_bos_token": false, "add_eos_token": true, "eos_token": "</s>",
          "added_tokens_decoder": {"280": {"content": "<|im_end|>", "special": true}}})");
  EXPECT_EQ(other.encode("a</s>a<|im_end|>", AddSpecial::yes), (Ids{space, a, 2, a, 280, 2}));
  EXPECT_EQ(other.ends(), (Ids{2, 280}));
  file.content.push_back({"▁▁▁", 0, 4});
  file.content.push_back({"bce", 0, 4});
  EXPECT_EQ(file.open().encode("abce   a", AddSpecial::no), (Ids{space, a, 277, 276, a})) << "user-defined: whole";
}

TEST(SentencePieces, RefuseModelFilesOfOtherKinds) {
  ModelFile file;
  file.kind = 1;
  EXPECT_NE(file.error().find("Unigram is not supported"), std::string::npos) << file.error();
  file = {};
  file.normalizer += field(2, "table");
  EXPECT_NE(file.error().find("a table that replaces characters"), std::string::npos) << file.error();
  file = {};
  file.normalizer = "";
  EXPECT_NE(file.error().find("remove_extra_whitespaces"), std::string::npos) << file.error();
  file = {};
  file.content.push_back({"nan", NAN, 1});
  EXPECT_NE(file.error().find("'nan' is no number"), std::string::npos) << file.error();
  // Cut anywhere and with any byte changed: an Error or a tokenizer, nothing else.
  const std::string whole = ModelFile().bytes();
  const TemporaryDirectory directory;
  for (std::size_t i = 0; i < whole.size(); i += 37) {
    std::string bytes = i % 2 == 0 ? whole.substr(0, i) : whole;
    if (i % 2 != 0) bytes[i] = static_cast<char>(bytes[i] ^ 0x5B);
    write_file(directory / "tokenizer.model", bytes);
    try {
      open_tokenizer(directory.path()).encode("the abc", AddSpecial::yes);
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace hack::model
