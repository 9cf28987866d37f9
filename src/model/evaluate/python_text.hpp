#pragma once

#include <cstddef>
#include <string_view>

#include "kernels/dtype.hpp"

namespace hack::model {

// Lengths of texts as Python counts them, by which lm-evaluation-harness divides. Texts are valid UTF-8. White space is
// that of str.isspace(): the property White_Space and U+001C to U+001F.

/// len(re.split(r"\s+", text)): one more than there are runs of white space, those at the ends included.
index_t count_words(std::string_view text);

/// len(text): code points.
index_t count_characters(std::string_view text);

/// The bytes that rstrip() takes away.
std::size_t trailing_space(std::string_view text);

/// What is left of a stretch of valid UTF-8, cut anywhere, without the characters that it cuts.
std::string_view whole_characters(std::string_view stretch);

}  // namespace hack::model
