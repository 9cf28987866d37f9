// Tokenizer::from_gguf: the metadata tokenizer.ggml.* of a GGUF file, read into a TokenizerDescription.

#include <utility>

#include "kernels/error.hpp"
#include "model/checkpoint/gguf_file.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace hack::model {
namespace {

/// How words are cut for one value of tokenizer.ggml.pre, and what else hangs on it.
struct Scheme {
  std::vector<std::string> patterns;
  bool ignore_merges = false;
  bool adds_bos = false;
};

Scheme scheme_of(const std::string& name, const std::string& source) {
  if (name == "smollm") return {{digit_pattern, byte_level_pattern}};
  if (name == "llama-bpe" || name == "llama3" || name == "llama-v3") return {{llama3_pattern}, true, true};
  if (name == "gpt-2") return {{byte_level_pattern}};
  if (name == "default") {
    return {{R"([\p{P}\$\+<=>\^~\|]+)", byte_level_pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}};
  }
  fail(
      "{}: tokenizer.ggml.pre '{}' is not supported (only smollm, llama-bpe, llama3, llama-v3, gpt-2 and default are); "
      "use the model's Hugging Face directory",
      source, name);
}

/// The kinds of tokenizer.ggml.token_type that matter: both are recognised in text.
constexpr std::int64_t control_token = 3;
constexpr std::int64_t user_defined_token = 4;

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
    if (!types.empty() && (types[i] == control_token || types[i] == user_defined_token)) {
      description.added_tokens.push_back({texts[i], id});
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

Tokenizer Tokenizer::from_gguf(const GgufFile& file) {
  const auto model = file.find_string("tokenizer.ggml.model");
  validate(model == "gpt2",
           "{}: tokenizer.ggml.model {} is not supported (only gpt2, byte-level BPE, is); use another model",
           file.path(), model ? "'" + *model + "'" : "is missing and");
  const Scheme scheme = scheme_of(file.find_string("tokenizer.ggml.pre").value_or("default"), file.path());

  TokenizerDescription description;
  description.source = file.path();
  description.ignore_merges = scheme.ignore_merges;
  description.patterns = scheme.patterns;
  read_tokens(file, description);
  read_merges(file, description);
  description.prefix =
      surrounding(file, "tokenizer.ggml.add_bos_token", scheme.adds_bos, "tokenizer.ggml.bos_token_id");
  description.suffix = surrounding(file, "tokenizer.ggml.add_eos_token", false, "tokenizer.ggml.eos_token_id");
  description.eos = file.find_integer("tokenizer.ggml.eos_token_id");
  return Tokenizer(description);
}

}  // namespace hack::model
