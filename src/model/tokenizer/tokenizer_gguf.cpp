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
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto id = static_cast<std::int64_t>(i);
    const bool is_control = !types.empty() && types[i] == TokenType::control;
    if (is_control || (!types.empty() && types[i] == TokenType::user_defined)) {
      description.added_tokens.push_back({.text = texts[i], .id = id, .special = is_control});
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

}  // namespace

TokenizerDescription read_tokenizer_gguf(const GgufFile& file) {
  const auto model = file.find_string("tokenizer.ggml.model");
  validate(model == "gpt2",
           "{}: tokenizer.ggml.model {} is not supported (only gpt2, byte-level BPE, is); use another model",
           file.path(), model ? "'" + *model + "'" : "is missing and");
  const TokenizerScheme scheme = scheme_named(file.find_string("tokenizer.ggml.pre").value_or("default"), file.path());

  TokenizerDescription description;
  description.source = file.path();
  description.ignore_merges = scheme.ignore_merges;
  description.patterns = scheme.patterns;
  read_tokens(file, description);
  read_merges(file, description);
  description.prefix =
      surrounding(file, "tokenizer.ggml.add_bos_token", scheme.adds_bos, "tokenizer.ggml.bos_token_id");
  description.suffix = surrounding(file, "tokenizer.ggml.add_eos_token", false, "tokenizer.ggml.eos_token_id");
  description.bos = file.find_integer("tokenizer.ggml.bos_token_id");
  description.eos = file.find_integer("tokenizer.ggml.eos_token_id");
  description.chat_template = file.find_string("tokenizer.chat_template").value_or("");
  return description;
}

Tokenizer Tokenizer::from_gguf(const GgufFile& file) { return Tokenizer(read_tokenizer_gguf(file)); }

}  // namespace hack::model
