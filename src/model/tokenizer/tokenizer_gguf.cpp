// Tokenizer::from_gguf: the metadata tokenizer.ggml.* of a GGUF file, read into a TokenizerDescription.

#include <utility>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "model/tokenizer/tokenizer_scheme.hpp"

namespace hack::model {
namespace {

void read_tokens(const GgufFile& file, TokenizerDescription& description) {
  std::vector<std::string> texts = file.strings("tokenizer.ggml.tokens");
  std::vector<std::int64_t> types;
  if (file.has("tokenizer.ggml.token_type")) {
    types = file.integers("tokenizer.ggml.token_type");
    validate(types.size() == texts.size(),
             "{}: tokenizer.ggml.token_type has {} entries for {} tokens; repair the file", description.source,
             types.size(), texts.size());
  }
  std::vector<double> scores;
  if (description.alphabet == Alphabet::characters) {
    scores = file.numbers("tokenizer.ggml.scores");
    validate(scores.size() == texts.size(), "{}: tokenizer.ggml.scores has {} entries for {} tokens; repair the file",
             description.source, scores.size(), texts.size());
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto id = static_cast<std::int64_t>(i);
    const std::int64_t type = types.empty() ? std::int64_t{TokenType::normal} : types[i];
    const bool is_special =
        type == TokenType::control || (type == TokenType::unknown && description.alphabet == Alphabet::characters);
    if (is_special || type == TokenType::user_defined) {
      description.added_tokens.push_back({.text = texts[i], .id = id, .special = is_special});
    }
    if (!scores.empty()) {
      const bool is_text = type == TokenType::normal || type == TokenType::user_defined || type == TokenType::unused;
      description.scores.push_back(is_text ? static_cast<float>(scores[i]) : TokenizerDescription::never_merged);
    }
    description.vocabulary.emplace_back(std::move(texts[i]), id);
  }
}

void read_merges(const GgufFile& file, TokenizerDescription& description) {
  for (const std::string& merge : file.strings("tokenizer.ggml.merges")) {
    const std::size_t space = merge.find(' ');
    validate(space != std::string::npos && merge.find(' ', space + 1) == std::string::npos,
             "{}: merge '{}' of tokenizer.ggml.merges is not two tokens with a space between; repair the file",
             description.source, merge);
    description.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
}

/// Reads the id under `key` where the flag says that texts get it.
std::vector<std::int64_t> surrounding(const GgufFile& file, const char* flag, bool otherwise, const char* key) {
  if (!file.find_bool(flag).value_or(otherwise)) return {};
  const auto id = file.find_integer(key);
  validate(id.has_value(), "{}: {} is missing ({} puts it around texts); repair the file", file.path(), key, flag);
  return {*id};
}

/// BPE of bytes: merges, and a name for how words are cut. Returns whether BOS is usual.
bool read_byte_level(const GgufFile& file, TokenizerDescription& description) {
  const TokenizerScheme scheme = scheme_named(file.find_string("tokenizer.ggml.pre").value_or("default"), file.path());
  description.ignore_merges = scheme.ignore_merges;
  description.patterns = scheme.patterns;
  description.composes = scheme.composes;
  read_tokens(file, description);
  read_merges(file, description);
  return scheme.adds_bos;
}

/// BPE of SentencePiece: scores; llama.cpp puts the mark of a space in front of every piece between special tokens.
void read_sentence_pieces(const GgufFile& file, TokenizerDescription& description) {
  description.alphabet = Alphabet::characters;
  description.byte_fallback = true;
  const bool has_prefix = file.find_bool("tokenizer.ggml.add_space_prefix").value_or(true);
  description.spaces = {.marks = true,
                        .prefix = has_prefix ? SpaceRule::Prefix::always : SpaceRule::Prefix::never,
                        .is_normalizer = true,
                        .strips_first = has_prefix};
  read_tokens(file, description);
  const auto unknown = file.find_integer("tokenizer.ggml.unknown_token_id");
  if (unknown && *unknown >= 0 && *unknown < std::ssize(description.vocabulary)) {
    description.unknown_token = description.vocabulary[static_cast<std::size_t>(*unknown)].first;
  }
}

}  // namespace

TokenizerDescription read_tokenizer_gguf(const GgufFile& file) {
  const auto model = file.find_string("tokenizer.ggml.model");
  validate(model == "gpt2" || model == "llama",
           "{}: tokenizer.ggml.model {} is not supported (gpt2, BPE of bytes, and llama, BPE of SentencePiece, are); "
           "use another model",
           file.path(), model ? "'" + *model + "'" : "is missing and");
  TokenizerDescription description;
  description.source = file.path();
  bool adds_bos = true;
  if (model == "gpt2") {
    adds_bos = read_byte_level(file, description);
  } else {
    read_sentence_pieces(file, description);
  }
  description.prefix = surrounding(file, "tokenizer.ggml.add_bos_token", adds_bos, "tokenizer.ggml.bos_token_id");
  description.suffix = surrounding(file, "tokenizer.ggml.add_eos_token", false, "tokenizer.ggml.eos_token_id");
  description.bos = file.find_integer("tokenizer.ggml.bos_token_id");
  description.eos = file.find_integer("tokenizer.ggml.eos_token_id");
  description.chat_template = file.find_string("tokenizer.chat_template").value_or("");
  return description;
}

Tokenizer Tokenizer::from_gguf(const GgufFile& file) { return Tokenizer(read_tokenizer_gguf(file)); }

}  // namespace hack::model
