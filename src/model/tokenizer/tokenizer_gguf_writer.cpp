#include <algorithm>
#include <string>

#include <fmt/core.h>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_writer.hpp"
#include "model/tokenizer/tokenizer_scheme.hpp"
#include "model/tokenizer/tokenizer_writers.hpp"

namespace hack::model {
namespace {

/// Tokens by their ids, and of what kind they are.
struct TokenList {
  std::vector<std::string> texts;
  std::vector<std::int32_t> types;

  TokenList(const TokenizerDescription& description, index_t vocab_size) {
    for (index_t id = 0; id < vocab_size; ++id) texts.push_back("[PAD" + std::to_string(id) + "]");
    types.assign(texts.size(), TokenType::unused);
    for (const auto& [text, id] : description.vocabulary) {
      put(description, text, id, text == description.unknown_token ? TokenType::unknown : TokenType::normal);
    }
    for (const AddedToken& token : description.added_tokens) {
      validate(!token.strips_left && !token.strips_right,
               "{}: token '{}' takes white space along, which GGUF cannot say", description.source, token.text);
      put(description, token.text, token.id, token.special ? TokenType::control : TokenType::user_defined);
    }
  }

 private:
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

}  // namespace

void add_tokenizer(GgufWriter& writer, const TokenizerDescription& description, index_t vocab_size,
                   const std::vector<int>& ends) {
  validate(description.alphabet == Alphabet::bytes,
           "{}: a tokenizer of SentencePiece is not written into GGUF files; export the model as a Hugging Face "
           "directory, which keeps its tokenizer",
           description.source);
  const std::optional<std::string_view> scheme = scheme_name_of(description);
  validate(
      scheme.has_value(),
      "{}: words are cut by patterns for which tokenizer.ggml.pre has no name that is known here; export the model "
      "as a Hugging Face directory, which keeps its tokenizer",
      description.source);
  const TokenList tokens(description, vocab_size);
  std::vector<std::string> merges;
  for (const auto& [left, right] : description.merges) merges.push_back(fmt::format("{} {}", left, right));
  writer.add_text("tokenizer.ggml.model", "gpt2");
  writer.add_text("tokenizer.ggml.pre", *scheme);
  writer.add_texts("tokenizer.ggml.tokens", tokens.texts);
  writer.add_integers("tokenizer.ggml.token_type", tokens.types);
  writer.add_texts("tokenizer.ggml.merges", merges);

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
}

}  // namespace hack::model
