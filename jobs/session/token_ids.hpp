#pragma once

#include <string>
#include <vector>

#include "svd/tile/range.hpp"

namespace hack::jobs {

/// Token ids separated by white space. An Error names the first word that is none.
std::vector<int> parse_ids(const std::string& text);

/// n ids spread over a part of the vocabulary, for timings: ids of a text touch rows all over the embedding.
std::vector<int> spread_ids(index_t n, svd::Range vocabulary);

}  // namespace hack::jobs
