#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hack::model {

class GgufFile;

/// A token that is recognised wherever it is written out in the text, before the text is cut into words.
struct AddedToken {
  std::string text;  ///< as it stands in the text
  std::int64_t id;
  bool strips_left = false;   ///< takes the white space before it along
  bool strips_right = false;  ///< takes the white space behind it along
  bool normalized = false;    ///< looked for only in what the tokens without this mark have left
  bool special = false;       ///< a sign to the model rather than text
};

/// What a tokenizer file says, before any of it is checked: what the readers of the formats hand to Tokenizer, and its
/// writers write.
struct TokenizerDescription {
  std::string source;                                            ///< the file, for errors
  std::vector<std::pair<std::string, std::int64_t>> vocabulary;  ///< text in the byte alphabet, id
  std::vector<std::pair<std::string, std::string>> merges;       ///< best first; texts of the vocabulary
  bool ignore_merges = false;                                    ///< words of the vocabulary are taken whole
  std::optional<std::string> unknown_token;                      ///< for bytes outside the vocabulary
  std::vector<std::string> patterns;                             ///< of the PreTokenizer
  std::vector<AddedToken> added_tokens;
  std::vector<std::int64_t> prefix;  ///< ids put before a text
  std::vector<std::int64_t> suffix;  ///< ids put behind a text
  std::optional<std::int64_t> bos;   ///< the id that begins a text by the file's word, put before texts or not
  std::optional<std::int64_t> eos;
  std::string chat_template;  ///< Jinja; empty where the file has none
};

/// Reads a Hugging Face tokenizer.json, and from the files beside it, where there are any, first and last token and the
/// chat template. An Error names the file and what in it is damaged or of a kind that is not known.
TokenizerDescription read_tokenizer_json(const std::filesystem::path& tokenizer_json);

/// Reads the metadata tokenizer.ggml.* in the same way.
TokenizerDescription read_tokenizer_gguf(const GgufFile& file);

}  // namespace hack::model
