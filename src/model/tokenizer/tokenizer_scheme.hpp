#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/tokenizer_description.hpp"

namespace hack::model {

/// How words are cut for one value of tokenizer.ggml.pre, and what else hangs on it.
struct TokenizerScheme {
  std::vector<std::string> patterns;
  bool ignore_merges = false;
  bool adds_bos = false;
  bool composes = false;
};

/// The scheme of a GGUF file's tokenizer.ggml.pre; an Error that names `source` where it is not known.
TokenizerScheme scheme_named(const std::string& name, const std::string& source);

/// The name of the scheme by which a tokenizer cuts words; nothing where there is none.
std::optional<std::string_view> scheme_name_of(const TokenizerDescription& description);

/// The kinds of tokens, as SentencePiece and tokenizer.ggml.token_type number them. Control and user-defined tokens are
/// recognised in text.
struct TokenType {
  enum Number : std::int32_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
};

}  // namespace hack::model
