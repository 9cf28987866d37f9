#pragma once

#include <string>
#include <string_view>

namespace hack::model {

/// How a tokenizer of SentencePiece's kind marks spaces: as U+2581, one of which may be put in front of a text.
struct SpaceRule {
  enum class Prefix { never, first, always };

  bool marks = false;             ///< spaces become U+2581; where they do not, the rest has no meaning
  Prefix prefix = Prefix::never;  ///< which pieces between added tokens get one: none, that at the text's start, all
  bool keeps_one = false;         ///< none is put in front of a piece that begins with one
  bool is_normalizer = false;     ///< done before tokens marked as normalized are looked for, not after
  bool strips_first = false;      ///< a decoded text loses one space at its start

  bool operator==(const SpaceRule&) const = default;
};

/// U+2581, the mark of a space.
inline constexpr std::string_view space_mark = "\xE2\x96\x81";

/// `piece` with its spaces marked by the rule; `at_start`: whether it begins the text.
std::string with_marked_spaces(std::string_view piece, const SpaceRule& rule, bool at_start);

/// `text` with each mark replaced by a space.
std::string without_space_marks(std::string_view text);

}  // namespace hack::model
