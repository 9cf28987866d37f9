#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/tokenizer/space_rule.hpp"

namespace hack::model {

class GgufFile;

/// What the texts of a vocabulary are written in.
enum class Alphabet {
  bytes,       ///< each byte is a printable character (byte-level BPE)
  characters,  ///< characters are themselves, U+2581 is a space and "<0x0A>" a byte (BPE of SentencePiece)
};

/// A token that is recognised wherever it is written out in the text, before the text is cut into words.
struct AddedToken {
  std::string text;  ///< as it stands in the text
  std::int64_t id;
  bool strips_left = false;   ///< takes the white space before it along
  bool strips_right = false;  ///< takes the white space behind it along
  bool normalized = false;    ///< looked for only in what the tokens without this mark have left
  bool special = false;       ///< a sign to the model rather than text
  std::string normal_form;    ///< of a normalized token: what is looked for; empty: its text
};

/// What a tokenizer file says, before any of it is checked: what the readers of the formats hand to Tokenizer, and its
/// writers write.
struct TokenizerDescription {
  /// The score of texts that take no part in merges.
  static constexpr float never_merged = -std::numeric_limits<float>::infinity();

  std::string source;                                            ///< the file, for errors
  std::vector<std::pair<std::string, std::int64_t>> vocabulary;  ///< text in the byte alphabet, id
  std::vector<std::pair<std::string, std::string>> merges;       ///< best first; texts of the vocabulary
  bool ignore_merges = false;                                    ///< words of the vocabulary are taken whole
  std::optional<std::string> unknown_token;                      ///< for bytes or characters outside the vocabulary
  std::vector<std::string> patterns;                             ///< of the PreTokenizer
  bool composes = false;                                         ///< texts are brought to Unicode's form NFC first

  Alphabet alphabet = Alphabet::bytes;
  SpaceRule spaces;            ///< of Alphabet::characters
  bool byte_fallback = false;  ///< characters outside the vocabulary become the tokens of their bytes
  bool fuse_unknown = false;   ///< neighbouring unknown characters are one unknown token
  /// Of the vocabulary, in its order: neighbours are joined whose text together has the highest score, and `merges` are
  /// empty (SentencePiece). Empty: `merges` count.
  std::vector<float> scores;

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

/// Reads a tokenizer.model of SentencePiece in the same way, and from the files beside it added tokens and whether
/// texts get first and last tokens. Of its kinds BPE is supported.
TokenizerDescription read_tokenizer_model(const std::filesystem::path& tokenizer_model);

/// Reads the metadata tokenizer.ggml.* in the same way.
TokenizerDescription read_tokenizer_gguf(const GgufFile& file);

}  // namespace hack::model
