#include "model/tokenizer/pre_tokenizer.hpp"

#include <optional>

#include "model/tokenizer/unicode.hpp"

namespace hack::model {

const char* const byte_level_pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

const char* const llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)";

const char* const qwen2_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)";

const char* const tekken_pattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Cut in front of each mark, which stays with what is behind it.
const char* const marked_word_pattern = R"(\x{2581}[^\x{2581}]*|[^\x{2581}]+)";

// Hugging Face has Digits know numbers of Unicode 17 that its regular expressions do not.
const char* const digit_pattern = R"([\p{N}\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}])";

/// What one call of split needs at every level.
struct PreTokenizer::Walk {
  std::string_view text;     ///< handed out in words
  std::string_view subject;  ///< the same, character for character, as the patterns shall see it
  RegularExpression::Scratch& scratch;
  const std::function<void(std::string_view)>& visit;
};

PreTokenizer::PreTokenizer(const std::vector<std::string>& patterns, const std::string& source) {
  patterns_.reserve(patterns.size());
  for (const std::string& pattern : patterns) patterns_.emplace_back(pattern, source);
}

void PreTokenizer::split(std::string_view text, const std::function<void(std::string_view)>& visit) const {
  const std::optional<std::string> copy = with_stand_ins(text);
  RegularExpression::Scratch scratch;
  split_piece({text, copy ? std::string_view(*copy) : text, scratch, visit}, 0, text.size(), 0);
}

void PreTokenizer::split_piece(const Walk& walk, std::size_t begin, std::size_t end, std::size_t pattern) const {
  if (begin == end) return;
  if (pattern == patterns_.size()) {
    walk.visit(walk.text.substr(begin, end - begin));
    return;
  }
  const std::string_view piece = walk.subject.substr(begin, end - begin);
  std::size_t from = 0;
  std::size_t last_end = 0;
  bool matched = false;
  while (from <= piece.size()) {
    const auto match = patterns_[pattern].find(piece, from, walk.scratch);
    if (!match) break;
    if (match->begin == match->end && matched && match->end == last_end) {
      // An empty match right behind another one is passed over, by one character.
      ++from;
      while (from < piece.size() && (static_cast<unsigned char>(piece[from]) & 0xC0) == 0x80) ++from;
      continue;
    }
    split_piece(walk, begin + last_end, begin + match->begin, pattern + 1);
    split_piece(walk, begin + match->begin, begin + match->end, pattern + 1);
    from = last_end = match->end;
    matched = true;
  }
  split_piece(walk, begin + last_end, end, pattern + 1);
}

}  // namespace hack::model
