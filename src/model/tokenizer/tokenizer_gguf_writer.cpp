#include <algorithm>
#include <string>

#include <fmt/core.h>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_writer.hpp"
#include "model/tokenizer/byte_alphabet.hpp"
#include "model/tokenizer/piece_scores.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/tokenizer_scheme.hpp"
#include "model/tokenizer/tokenizer_writers.hpp"

namespace hack::model {
namespace {

/// Tokens by their ids, and of what kind they are.
struct TokenList {
  std::vector<std::string> texts;
  std::vector<std::int32_t> types;
  std::vector<float> scores;  ///< of pieces; empty where tokens have none

  TokenList(const TokenizerDescription& description, index_t vocab_size) {
    for (index_t id = 0; id < vocab_size; ++id) texts.push_back("[PAD" + std::to_string(id) + "]");
    types.assign(texts.size(), TokenType::unused);
    const bool is_of_pieces = description.alphabet == Alphabet::characters;
    for (const auto& [text, id] : description.vocabulary) {
      const bool is_byte = is_of_pieces && byte_of_fallback(text);
      put(description, text, id,
          text == description.unknown_token ? TokenType::unknown
          : is_byte                         ? TokenType::byte
                                            : TokenType::normal);
    }
    if (is_of_pieces) add_scores(description);
    for (const AddedToken& token : description.added_tokens) {
      validate(!token.strips_left && !token.strips_right,
               "{}: token '{}' takes white space along, which GGUF cannot say", description.source, token.text);
      const bool is_unknown = is_of_pieces && token.text == description.unknown_token;
      put(description, is_of_pieces ? without_space_marks(token.text) : token.text, token.id,
          is_unknown      ? TokenType::unknown
          : token.special ? TokenType::control
                          : TokenType::user_defined);
    }
  }

 private:
  void add_scores(const TokenizerDescription& description) {
    const std::vector<float> known = piece_scores(description);
    scores.assign(texts.size(), 0);
    for (std::size_t i = 0; i < known.size(); ++i) {
      const auto id = static_cast<std::size_t>(description.vocabulary[i].second);
      if (known[i] != TokenizerDescription::never_merged) scores[id] = known[i];
    }
  }

  void put(const TokenizerDescription& description, const std::string& text, std::int64_t id, std::int32_t type) {
    validate(id >= 0 && id < std::ssize(texts),
             "{}: token '{}' has the id {}, but the model embeds {} tokens alone; give the model its own tokenizer",
             description.source, text, id, texts.size());
    texts[static_cast<std::size_t>(id)] = text;
    types[static_cast<std::size_t>(id)] = type;
  }
};

void add_id(GgufWriter& writer, const char* key, std::int64_t id) {
  writer.add_integer(key, static_cast<std::uint32_t>(id));
}

/// The id that stands at one end of every text, if one does.
std::optional<std::int64_t> around(const TokenizerDescription& description, const std::vector<std::int64_t>& ids,
                                   std::optional<std::int64_t> named) {
  if (ids.empty()) return named;
  validate(ids.size() == 1, "{}: {} tokens stand at one end of every text, GGUF knows one", description.source,
           ids.size());
  return ids.front();
}

void add_byte_level(GgufWriter& writer, const TokenizerDescription& description, const TokenList& tokens) {
  const std::optional<std::string_view> scheme = scheme_name_of(description);
  validate(
      scheme.has_value(),
      "{}: words are cut by patterns for which tokenizer.ggml.pre has no name that is known here; export the model "
      "as a Hugging Face directory, which keeps its tokenizer",
      description.source);
  std::vector<std::string> merges;
  for (const auto& [left, right] : description.merges) merges.push_back(fmt::format("{} {}", left, right));
  writer.add_text("tokenizer.ggml.model", "gpt2");
  writer.add_text("tokenizer.ggml.pre", *scheme);
  writer.add_texts("tokenizer.ggml.tokens", tokens.texts);
  writer.add_integers("tokenizer.ggml.token_type", tokens.types);
  writer.add_texts("tokenizer.ggml.merges", merges);
}

/// Words that are cut at spaces make no difference where no piece goes across one.
bool cuts_nothing(const TokenizerDescription& description) {
  if (description.patterns.empty()) return true;
  if (description.patterns != std::vector<std::string>{marked_word_pattern}) return false;
  return std::none_of(description.vocabulary.begin(), description.vocabulary.end(),
                      [](const auto& entry) { return entry.first.find(space_mark, 1) != std::string::npos; });
}

/// SentencePiece's pieces, for which llama.cpp has one way to mark spaces and to join.
void add_pieces(GgufWriter& writer, const TokenizerDescription& description, const TokenList& tokens) {
  const char* const obstacle = !cuts_nothing(description)  ? "words that are cut by patterns"
                               : description.composes      ? "texts in normal form C"
                               : description.ignore_merges ? "words that are taken whole"
                               : std::count(tokens.types.begin(), tokens.types.end(), TokenType::byte) != 256
                                   ? "characters without bytes"
                                   : nullptr;
  validate(obstacle == nullptr,
           "{}: a tokenizer of SentencePiece with {} has no place in GGUF files; export the model as a Hugging Face "
           "directory, which keeps its tokenizer",
           description.source, obstacle == nullptr ? "" : obstacle);
  writer.add_text("tokenizer.ggml.model", "llama");
  writer.add_text("tokenizer.ggml.pre", "default");
  writer.add_texts("tokenizer.ggml.tokens", tokens.texts);
  writer.add_numbers("tokenizer.ggml.scores", tokens.scores);
  writer.add_integers("tokenizer.ggml.token_type", tokens.types);
  writer.add_flag("tokenizer.ggml.add_space_prefix", description.spaces.prefix != SpaceRule::Prefix::never);
  const auto unknown = std::find(tokens.types.begin(), tokens.types.end(), TokenType::unknown);
  if (unknown != tokens.types.end()) add_id(writer, "tokenizer.ggml.unknown_token_id", unknown - tokens.types.begin());
}

}  // namespace

std::optional<std::string> add_tokenizer(GgufWriter& writer, const TokenizerDescription& description,
                                         index_t vocab_size, const std::vector<int>& ends) {
  const TokenList tokens(description, vocab_size);
  const bool is_of_bytes = description.alphabet == Alphabet::bytes;
  if (is_of_bytes) {
    add_byte_level(writer, description, tokens);
  } else {
    add_pieces(writer, description, tokens);
  }

  const std::optional<std::int64_t> bos = around(description, description.prefix, description.bos);
  const std::optional<std::int64_t> named = description.eos || ends.empty() ? description.eos : ends.front();
  const std::optional<std::int64_t> eos = around(description, description.suffix, named);
  if (bos) add_id(writer, "tokenizer.ggml.bos_token_id", *bos);
  if (eos) add_id(writer, "tokenizer.ggml.eos_token_id", *eos);
  const char* const other_ends[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
  std::size_t used = 0;
  for (const int id : ends) {
    if (id != eos && used < std::size(other_ends)) add_id(writer, other_ends[used++], id);
  }
  writer.add_flag("tokenizer.ggml.add_bos_token", !description.prefix.empty());
  writer.add_flag("tokenizer.ggml.add_eos_token", !description.suffix.empty());
  if (!description.chat_template.empty()) writer.add_text("tokenizer.chat_template", description.chat_template);

  const SpaceRule& spaces = description.spaces;
  if (is_of_bytes || (spaces.prefix != SpaceRule::Prefix::first && !spaces.keeps_one)) return {};
  return "programs that read GGUF files put a space behind special tokens and before a text that begins with one; " +
         description.source + " does not";
}

}  // namespace hack::model
