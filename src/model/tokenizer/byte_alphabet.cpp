#include "model/tokenizer/byte_alphabet.hpp"

#include <array>

namespace hack::model {
namespace {

constexpr bool stands_for_itself(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

constexpr std::size_t alphabet_end = 0x144;

/// Code point → byte, or -1.
constexpr std::array<int, alphabet_end> byte_of_character = [] {
  std::array<int, alphabet_end> bytes{};
  std::size_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    if (stands_for_itself(byte)) {
      bytes[byte] = byte;
    } else {
      bytes[byte] = -1;
      bytes[next++] = byte;
    }
  }
  return bytes;
}();

}  // namespace

std::optional<std::string> bytes_of(std::string_view entry) {
  std::string bytes;
  bytes.reserve(entry.size());
  for (std::size_t i = 0; i < entry.size(); ++i) {
    std::size_t character = static_cast<unsigned char>(entry[i]);
    if (character >= 0x80) {
      // The alphabet needs two bytes of UTF-8 at most.
      if ((character & 0xE0) != 0xC0 || i + 1 == entry.size()) return std::nullopt;
      const auto next = static_cast<unsigned char>(entry[++i]);
      if (character < 0xC2 || (next & 0xC0) != 0x80) return std::nullopt;  // no UTF-8 at all
      character = (character & 0x1F) << 6 | (next & 0x3F);
    }
    if (character >= alphabet_end || byte_of_character[character] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte_of_character[character]));
  }
  return bytes;
}

std::optional<unsigned char> byte_of_fallback(std::string_view entry) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  if (entry.size() != 6 || !entry.starts_with("<0x") || entry.back() != '>') return {};
  const std::size_t high = digits.find(entry[3]), low = digits.find(entry[4]);
  if (high == std::string_view::npos || low == std::string_view::npos) return {};
  return static_cast<unsigned char>(high << 4 | low);
}

std::string bytes_of(std::string_view entry, Alphabet alphabet) {
  if (alphabet == Alphabet::bytes) return bytes_of(entry).value_or(std::string(entry));
  if (const auto byte = byte_of_fallback(entry)) return {static_cast<char>(*byte)};
  return without_space_marks(entry);
}

}  // namespace hack::model
