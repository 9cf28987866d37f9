#include "model/evaluate/python_text.hpp"

#include <algorithm>

#include "model/tokenizer/unicode.hpp"

namespace hack::model {
namespace {

bool is_separator(char byte) { return byte >= '\x1C' && byte <= '\x1F'; }

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

std::size_t leading_space(std::string_view text) {
  std::size_t length = 0;
  for (;;) {
    if (length < text.size() && is_separator(text[length])) {
      ++length;
      continue;
    }
    const std::size_t more = leading_white_space(text.substr(length));
    if (more == 0) return length;
    length += more;
  }
}

}  // namespace

index_t count_words(std::string_view text) {
  index_t words = 1;
  while (!text.empty()) {
    const std::size_t space = leading_space(text);
    if (space > 0) ++words;
    text.remove_prefix(std::max<std::size_t>(space, 1));
    // White space never begins within a character.
    while (!text.empty() && !begins_character(text.front())) text.remove_prefix(1);
  }
  return words;
}

index_t count_characters(std::string_view text) { return std::count_if(text.begin(), text.end(), begins_character); }

std::size_t trailing_space(std::string_view text) {
  const std::size_t whole = text.size();
  for (;;) {
    if (!text.empty() && is_separator(text.back())) {
      text.remove_suffix(1);
      continue;
    }
    const std::size_t more = trailing_white_space(text);
    if (more == 0) return whole - text.size();
    text.remove_suffix(more);
  }
}

std::string_view whole_characters(std::string_view stretch) {
  while (!stretch.empty() && !begins_character(stretch.front())) stretch.remove_prefix(1);
  std::size_t last = stretch.size();
  while (last > 0 && !begins_character(stretch[last - 1])) --last;
  if (last == 0) return stretch;
  const auto lead = static_cast<unsigned char>(stretch[last - 1]);
  const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return stretch.size() - (last - 1) < length ? stretch.substr(0, last - 1) : stretch;
}

}  // namespace hack::model
