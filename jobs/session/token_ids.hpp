#pragma once

#include <string>
#include <vector>

namespace hack::jobs {

/// Token ids separated by white space. An Error names the first word that is none.
std::vector<int> parse_ids(const std::string& text);

}  // namespace hack::jobs
