#pragma once

#include <string>
#include <vector>

namespace hack::jobs {

/// "; did you mean WORD?" with the nearest of the known words, where one is near enough to `typed` to be meant: at most
/// a third of its letters left out, added, exchanged or swapped with their neighbours. Else empty.
std::string did_you_mean(const std::string& typed, const std::vector<std::string>& known);

/// A text for a message: its beginning alone where it is long, without control characters.
std::string shortened(const std::string& text);

}  // namespace hack::jobs
