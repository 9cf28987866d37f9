#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace hack::model {

/// Throws an Error with the offset of the first byte that is not UTF-8 (overlong forms, surrogates and code points
/// above U+10FFFF included). `what` names the text in the message.
void validate_utf8(std::string_view text, std::string_view what);

/// The bytes of the white space (property White_Space) that `text`, valid UTF-8, starts or ends with.
std::size_t leading_white_space(std::string_view text);
std::size_t trailing_white_space(std::string_view text);

/// The bytes of the character whose first byte is text[at]; of text that is not UTF-8 some number that stays inside.
std::size_t character_bytes(std::string_view text, std::size_t at);

/// `text`, valid UTF-8, in Unicode's normal form C: letters with their accents as one character where there is one.
std::string composed(std::string_view text);

/// Replaces the characters that PCRE2 puts into other classes than Unicode 16 does by characters of the right class and
/// the same length in bytes, so that offsets stay: U+180E, which PCRE2 calls white space, and the letters and numbers
/// that entered Unicode after version 14, which PCRE2 10.42 does not know. Nothing if `text`, valid UTF-8, has none.
std::optional<std::string> with_stand_ins(std::string_view text);

}  // namespace hack::model
