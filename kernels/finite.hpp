#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace hack {

/// Whether none of the numbers is NaN or infinity.
inline bool are_finite(std::span<const float> numbers) {
  return std::all_of(numbers.begin(), numbers.end(), [](float number) { return std::isfinite(number); });
}

}  // namespace hack
