#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "model/tokenizer/tokenizer_description.hpp"

namespace hack::model {

/// The bytes that a vocabulary entry stands for in the alphabet of byte-level BPE, where each byte is one printable
/// character: bytes 33…126, 161…172 and 174…255 are the characters of the same number, the other 68, in ascending
/// order, U+0100…U+0143 (a space is U+0120). Nothing if a character is outside the alphabet.
std::optional<std::string> bytes_of(std::string_view entry);

/// The byte that an entry such as "<0x0A>" stands for, by which SentencePiece writes what its vocabulary lacks.
std::optional<unsigned char> byte_of_fallback(std::string_view entry);

/// The bytes that an entry of a vocabulary stands for; itself where it has none in the byte alphabet.
std::string bytes_of(std::string_view entry, Alphabet alphabet);

}  // namespace hack::model
