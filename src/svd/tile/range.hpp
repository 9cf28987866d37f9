#pragma once

#include <algorithm>
#include <vector>

#include "kernels/dtype.hpp"

namespace hack::svd {

/// The indices begin … end - 1.
struct Range {
  index_t begin = 0;
  index_t end = 0;

  index_t size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

/// What two ranges have in common; empty where they are apart.
inline Range intersect(Range a, Range b) {
  const index_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

/// Part `index` of [0, n) cut into `parts` pieces whose sizes differ by at most one.
inline Range even_part(index_t n, int parts, int index) { return {n * index / parts, n * (index + 1) / parts}; }

}  // namespace hack::svd
