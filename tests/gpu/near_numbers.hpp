#pragma once

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/dtype.hpp"

namespace hack::tests {

/// Numbers differ by no more than bound · (1 + |expected|).
inline void expect_near(const std::vector<float>& actual, const std::vector<float>& expected, double bound) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], bound * (1 + std::fabs(expected[i]))) << "number " << i;
  }
}

inline std::vector<float> zeros(index_t n) { return std::vector<float>(static_cast<std::size_t>(n)); }

}  // namespace hack::tests
