#include "model/tokenizer/unicode.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include <utf8proc.h>

#include "kernels/error.hpp"
#include "model/tokenizer/regular_expression.hpp"

namespace hack::model {
namespace {

/// The code point whose first byte is text[at], of valid UTF-8.
char32_t code_point(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[at + i])); };
  if (byte(0) < 0x80) return byte(0);
  if (byte(0) < 0xE0) return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
  if (byte(0) < 0xF0) return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
}

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

enum class CharacterClass { format, letter, number };

struct CharacterRange {
  char32_t first;
  char32_t last;
  CharacterClass kind;
};

constexpr auto format = CharacterClass::format;
constexpr auto letter = CharacterClass::letter;
constexpr auto number = CharacterClass::number;

/// Sorted. Found by comparing the classes of all code points with those of Unicode 16.
constexpr auto stand_in_ranges = std::to_array<CharacterRange>({
    {0x180E, 0x180E, format},   {0x1C89, 0x1C8A, letter},   {0xA7CB, 0xA7CD, letter},   {0xA7DA, 0xA7DC, letter},
    {0x105C0, 0x105F3, letter}, {0x10D40, 0x10D49, number}, {0x10D4A, 0x10D65, letter}, {0x10D6F, 0x10D85, letter},
    {0x10EC2, 0x10EC4, letter}, {0x1123F, 0x11240, letter}, {0x11380, 0x11389, letter}, {0x1138B, 0x1138B, letter},
    {0x1138E, 0x1138E, letter}, {0x11390, 0x113B5, letter}, {0x113B7, 0x113B7, letter}, {0x113D1, 0x113D1, letter},
    {0x113D3, 0x113D3, letter}, {0x116D0, 0x116E3, number}, {0x11BC0, 0x11BE0, letter}, {0x11BF0, 0x11BF9, number},
    {0x11F02, 0x11F02, letter}, {0x11F04, 0x11F10, letter}, {0x11F12, 0x11F33, letter}, {0x11F50, 0x11F59, number},
    {0x1342F, 0x1342F, letter}, {0x13441, 0x13446, letter}, {0x13460, 0x143FA, letter}, {0x16100, 0x1611D, letter},
    {0x16130, 0x16139, number}, {0x16D40, 0x16D6C, letter}, {0x16D70, 0x16D79, number}, {0x18CFF, 0x18CFF, letter},
    {0x1B132, 0x1B132, letter}, {0x1B155, 0x1B155, letter}, {0x1CCF0, 0x1CCF9, number}, {0x1D2C0, 0x1D2D3, number},
    {0x1DF25, 0x1DF2A, letter}, {0x1E030, 0x1E06D, letter}, {0x1E4D0, 0x1E4EB, letter}, {0x1E4F0, 0x1E4F9, number},
    {0x1E5D0, 0x1E5ED, letter}, {0x1E5F0, 0x1E5F0, letter}, {0x1E5F1, 0x1E5FA, number}, {0x2B739, 0x2B739, letter},
    {0x2EBF0, 0x2EE5D, letter}, {0x31350, 0x323AF, letter},
});

/// The UTF-8 of a character of the same class and length as `c`; empty if `c` needs none.
std::string_view stand_in(char32_t c) {
  const auto range = std::lower_bound(stand_in_ranges.begin(), stand_in_ranges.end(), c,
                                      [](const CharacterRange& candidate, char32_t x) { return candidate.last < x; });
  if (range == stand_in_ranges.end() || c < range->first) return {};
  if (range->kind == format) return "\xE2\x80\x8B";                                     // U+200B
  if (range->kind == letter) return c < 0x10000 ? "\xE3\x81\x82" : "\xF0\xA0\x80\x80";  // U+3042, U+20000
  return "\xF0\x9D\x9F\x8E";                                                            // U+1D7CE
}

}  // namespace

void validate_utf8(std::string_view text, std::string_view what) {
  const auto fault = RegularExpression::find_utf8_fault(text);
  if (fault) fail("{} is not UTF-8 (byte {}: {}); convert it to UTF-8", what, fault->offset, fault->reason);
}

std::size_t leading_white_space(std::string_view text) {
  std::size_t length = 0;
  while (length < text.size() && is_white_space(code_point(text, length))) {
    ++length;
    while (length < text.size() && is_continuation(text[length])) ++length;
  }
  return length;
}

std::size_t trailing_white_space(std::string_view text) {
  std::size_t start = text.size();
  while (start > 0) {
    std::size_t previous = start - 1;
    while (is_continuation(text[previous])) --previous;
    if (!is_white_space(code_point(text, previous))) break;
    start = previous;
  }
  return text.size() - start;
}

std::size_t character_bytes(std::string_view text, std::size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  const std::size_t bytes = first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  return std::min(bytes, text.size() - at);
}

std::string composed(std::string_view text) {
  const auto is_ascii = [](char byte) { return static_cast<unsigned char>(byte) < 0x80; };
  if (std::all_of(text.begin(), text.end(), is_ascii)) return std::string(text);
  utf8proc_uint8_t* out = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &out, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(out, &std::free);
  validate(size >= 0, "cannot bring a text into normal form C ({})", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(out), static_cast<std::size_t>(size)};
}

std::optional<std::string> with_stand_ins(std::string_view text) {
  std::optional<std::string> copy;
  for (std::size_t at = 0; at < text.size(); ++at) {
    // First bytes below E1 start characters below U+1000: none of the table's.
    if (static_cast<unsigned char>(text[at]) < 0xE1) continue;
    const std::string_view replacement = stand_in(code_point(text, at));
    if (replacement.empty()) continue;
    if (!copy) copy.emplace(text);
    copy->replace(at, replacement.size(), replacement);
  }
  return copy;
}

}  // namespace hack::model
