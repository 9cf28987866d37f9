#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "kernels/dtype.hpp"

namespace hack {

/// Whether none of the numbers is NaN or infinity.
inline bool are_finite(std::span<const float> numbers) {
  return std::all_of(numbers.begin(), numbers.end(), [](float number) { return std::isfinite(number); });
}

/// The same of n numbers of a type, which lie anywhere: nothing is aligned.
bool are_finite(const std::byte* numbers, DType type, index_t n);

/// Whether all of them are finite, and none below 0 (-0 is not).
bool are_finite_from_zero(const std::byte* numbers, DType type, index_t n);

}  // namespace hack
