#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace hack::model {
namespace {

using Ids = std::vector<int>;

/// Writes the metadata of a GGUF file of version 3 without tensors.
class GgufWriter {
 public:
  void add(const std::string& key, const std::string& value) {
    start(key, 8);
    put_text(value);
  }
  void add(const std::string& key, std::uint32_t value) {
    start(key, 4);
    put(value);
  }
  void add(const std::string& key, bool value) {
    start(key, 7);
    put(static_cast<std::uint8_t>(value));
  }
  void add(const std::string& key, const std::vector<std::string>& values) {
    start(key, 9);
    put(std::uint32_t{8});
    put(std::uint64_t{values.size()});
    for (const std::string& value : values) put_text(value);
  }
  void add(const std::string& key, const std::vector<std::int32_t>& values) {
    start(key, 9);
    put(std::uint32_t{5});
    put(std::uint64_t{values.size()});
    for (const std::int32_t value : values) put(value);
  }

  Tokenizer tokenizer() const {
    const auto path = std::filesystem::temp_directory_path() / ("hack-tokenizer-" + std::to_string(getpid()) + ".gguf");
    GgufWriter head;
    head.bytes_ = "GGUF";
    head.put(std::uint32_t{3});
    head.put(std::uint64_t{0});
    head.put(count_);
    // Up to the next multiple of 32 and beyond: where the tensors would start.
    std::ofstream(path, std::ios::binary) << head.bytes_ << bytes_ << std::string(64, '\0');
    try {
      Tokenizer result = Tokenizer::from_gguf(GgufFile(path));
      std::filesystem::remove(path);
      return result;
    } catch (...) {
      std::filesystem::remove(path);
      throw;
    }
  }

 private:
  void start(const std::string& key, std::uint32_t type) {
    put_text(key);
    put(type);
    ++count_;
  }
  void put_text(const std::string& text) {
    put(std::uint64_t{text.size()});
    bytes_ += text;
  }
  template <class T>
  void put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }

  std::string bytes_;
  std::uint64_t count_ = 0;
};

// Ids 0…10; U+0120 is the space.
const std::vector<std::string> tokens = {"a", "b", "c", "\u0120", "ab", "ca", "1", "2", "12", "<s>", "<u >"};
const std::vector<std::int32_t> types = {1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 4};
const std::vector<std::string> merges = {"a b", "1 2"};

GgufWriter small_gguf(const std::string& pre) {
  GgufWriter file;
  file.add("tokenizer.ggml.model", std::string("gpt2"));
  file.add("tokenizer.ggml.pre", pre);
  file.add("tokenizer.ggml.tokens", tokens);
  file.add("tokenizer.ggml.token_type", types);
  file.add("tokenizer.ggml.merges", merges);
  return file;
}

std::string error_of(const GgufWriter& file) {
  try {
    file.tokenizer();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TokenizerGguf, CutsWordsAsThePreTokenizerKeySays) {
  EXPECT_EQ(small_gguf("gpt-2").tokenizer().encode("ab 12", AddSpecial::yes), (Ids{4, 3, 8}));
  EXPECT_EQ(small_gguf("smollm").tokenizer().encode("ab 12", AddSpecial::yes), (Ids{4, 3, 6, 7}));
  EXPECT_EQ(small_gguf("default").tokenizer().encode("ab 12", AddSpecial::yes), (Ids{4, 3, 8}));
  for (const char* name : {"llama-bpe", "llama3", "llama-v3"}) {
    GgufWriter file = small_gguf(name);
    file.add("tokenizer.ggml.add_bos_token", false);
    EXPECT_EQ(file.tokenizer().encode("1212ca", AddSpecial::yes), (Ids{8, 6, 7, 5})) << name;
  }
}

TEST(TokenizerGguf, TakesAFileWithoutPreTokenizerKeyForDefault) {
  GgufWriter file;
  file.add("tokenizer.ggml.model", std::string("gpt2"));
  file.add("tokenizer.ggml.tokens", tokens);
  file.add("tokenizer.ggml.merges", merges);
  // 121212 is cut into threes; without types no token is an added one.
  EXPECT_EQ(file.tokenizer().encode("121212", AddSpecial::yes), (Ids{8, 6, 7, 8}));
  EXPECT_EQ(file.tokenizer().encode("<s>", AddSpecial::yes), Ids{});
}

TEST(TokenizerGguf, FindsControlAndUserDefinedTokens) {
  const Tokenizer tokenizer = small_gguf("gpt-2").tokenizer();
  EXPECT_EQ(tokenizer.encode("a<s><u >b", AddSpecial::yes), (Ids{0, 9, 10, 1}));
  EXPECT_EQ(tokenizer.decode(Ids{9, 3, 10}), "<s> <u >");
  EXPECT_EQ(tokenizer.size(), 11);
}

TEST(TokenizerGguf, PutsBosAndEosWhereTheFlagsSay) {
  GgufWriter file = small_gguf("gpt-2");
  file.add("tokenizer.ggml.bos_token_id", std::uint32_t{9});
  file.add("tokenizer.ggml.eos_token_id", std::uint32_t{10});
  EXPECT_EQ(file.tokenizer().bos(), std::nullopt);
  EXPECT_EQ(file.tokenizer().eos(), 10);
  EXPECT_EQ(file.tokenizer().encode("a", AddSpecial::yes), (Ids{0}));
  file.add("tokenizer.ggml.add_bos_token", true);
  EXPECT_EQ(file.tokenizer().bos(), 9);
  EXPECT_EQ(file.tokenizer().encode("a", AddSpecial::yes), (Ids{9, 0}));
  EXPECT_EQ(file.tokenizer().encode("a", AddSpecial::no), (Ids{0}));
  file.add("tokenizer.ggml.add_eos_token", true);
  EXPECT_EQ(file.tokenizer().encode("a", AddSpecial::yes), (Ids{9, 0, 10}));

  GgufWriter llama = small_gguf("llama-bpe");
  EXPECT_NE(error_of(llama).find("bos_token_id"), std::string::npos) << error_of(llama);
  llama.add("tokenizer.ggml.bos_token_id", std::uint32_t{9});
  EXPECT_EQ(llama.tokenizer().encode("a", AddSpecial::yes), (Ids{9, 0}));
}

TEST(TokenizerGguf, RefusesDamagedAndUnknownFiles) {
  EXPECT_NE(error_of(small_gguf("viking")).find("'viking'"), std::string::npos);

  GgufWriter file;
  EXPECT_NE(error_of(file).find("tokenizer.ggml.model"), std::string::npos);
  file.add("tokenizer.ggml.model", std::string("t5"));
  EXPECT_NE(error_of(file).find("'t5'"), std::string::npos);

  GgufWriter no_tokens;
  no_tokens.add("tokenizer.ggml.model", std::string("gpt2"));
  EXPECT_NE(error_of(no_tokens).find("tokenizer.ggml.tokens"), std::string::npos);
  no_tokens.add("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "a"});
  EXPECT_NE(error_of(no_tokens).find("tokenizer.ggml.merges"), std::string::npos);
  no_tokens.add("tokenizer.ggml.merges", std::vector<std::string>{});
  EXPECT_NE(error_of(no_tokens).find("'a'"), std::string::npos);

  GgufWriter bad_types;
  bad_types.add("tokenizer.ggml.model", std::string("gpt2"));
  bad_types.add("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"});
  bad_types.add("tokenizer.ggml.merges", std::vector<std::string>{"a", "b"});
  EXPECT_NE(error_of(bad_types).find("merge 'a'"), std::string::npos);
  bad_types.add("tokenizer.ggml.token_type", std::vector<std::int32_t>{1});
  EXPECT_NE(error_of(bad_types).find("token_type"), std::string::npos);

  GgufWriter bad_id = small_gguf("gpt-2");
  bad_id.add("tokenizer.ggml.eos_token_id", std::uint32_t{11});
  EXPECT_NE(error_of(bad_id).find("11"), std::string::npos);
}

}  // namespace
}  // namespace hack::model
