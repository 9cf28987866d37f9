#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/regular_expression.hpp"

namespace hack::model {

/// The pattern that stands behind ByteLevel with use_regex: contractions, letters, numbers, other signs, white space.
extern const char* const byte_level_pattern;
/// Llama-3's pattern: contractions in either case, words, up to three digits, signs, line ends, white space.
extern const char* const llama3_pattern;
/// Qwen's: Llama-3's with single digits.
extern const char* const qwen2_pattern;
/// Mistral's of 2024 (Tekken): words end where small letters are followed by large ones.
extern const char* const tekken_pattern;
/// A word with the marks of spaces that stand in front of it (Metaspace with split).
extern const char* const marked_word_pattern;
/// One number of any script, as the pre-tokenizer Digits sees it.
extern const char* const digit_pattern;

/// Cuts text into the words inside which pairs are merged: each pattern cuts every piece the one before it left into
/// its matches and what lies between them (Hugging Face: Split with behavior Isolated). A piece knows nothing of its
/// neighbours: look-arounds end at its borders.
class PreTokenizer {
 public:
  /// `source` names where the patterns stand in errors.
  PreTokenizer(const std::vector<std::string>& patterns, const std::string& source);

  /// Calls visit with each word of `text`, valid UTF-8, in order; together they are the text.
  void split(std::string_view text, const std::function<void(std::string_view)>& visit) const;

 private:
  struct Walk;
  void split_piece(const Walk& walk, std::size_t begin, std::size_t end, std::size_t pattern) const;

  std::vector<RegularExpression> patterns_;
};

}  // namespace hack::model
