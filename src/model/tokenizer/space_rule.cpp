#include "model/tokenizer/space_rule.hpp"

namespace hack::model {

std::string with_marked_spaces(std::string_view piece, const SpaceRule& rule, bool at_start) {
  std::string out;
  if (piece.empty()) return out;
  out.reserve(piece.size() + piece.size() / 2 + space_mark.size());
  const bool is_asked =
      rule.prefix == SpaceRule::Prefix::always || (rule.prefix == SpaceRule::Prefix::first && at_start);
  const bool has_one = piece.front() == ' ' || piece.starts_with(space_mark);
  if (is_asked && !(rule.keeps_one && has_one)) out += space_mark;
  for (const char c : piece) {
    if (c == ' ') {
      out += space_mark;
    } else {
      out += c;
    }
  }
  return out;
}

std::string without_space_marks(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    if (text.starts_with(space_mark)) {
      out += ' ';
      text.remove_prefix(space_mark.size());
    } else {
      out += text.front();
      text.remove_prefix(1);
    }
  }
  return out;
}

}  // namespace hack::model
