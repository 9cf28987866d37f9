#pragma once

#include <string>

#include "svd/tile/storage.hpp"

namespace hack::jobs {

/// Share of a tile's full rank up to which its low-rank form was no slower than the dense one, for products of `tokens`
/// tokens with factors in `codec` beside dense weights in its plain type: from a report of `hack bench apply`, whose
/// tiles are 128 × 128. An Error names the file where it has no such figure, or no rank was faster.
double read_fast_share(const std::string& report, svd::Structure storage, Codec codec, long tokens);

}  // namespace hack::jobs
