#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "kernels/matrix_view.hpp"

namespace hack::tests {

constexpr DType all_types[] = {DType::f32, DType::bf16, DType::f16};
constexpr double eps = std::numeric_limits<float>::epsilon();

/// n numbers in [-1, 1), always the same ones for a seed.
inline std::vector<float> random_floats(index_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> out(static_cast<std::size_t>(n));
  for (float& x : out) x = uniform(generator);
  return out;
}

/// A weight matrix of any number type and what its numbers are in f32.
struct RandomWeights {
  std::vector<std::byte> bytes;
  std::vector<float> values;  // (rows, cols)
  WeightView<> view;

  RandomWeights(index_t rows, index_t cols, DType type, unsigned seed)
      : bytes(static_cast<std::size_t>(rows * cols * size_of(type))), values(random_floats(rows * cols, seed)) {
    convert(values.data(), DType::f32, bytes.data(), type, rows * cols);
    convert(bytes.data(), type, values.data(), DType::f32, rows * cols);
    view = {bytes.data(), type, rows, cols, cols};
  }

  /// The same numbers in f32: CPUs with products of bf16 pairs round what they multiply with narrow ones.
  WeightView<> wide() const { return {values.data(), DType::f32, view.rows, view.cols, view.ld}; }
};

inline MatrixView<float> view_of(std::vector<float>& data, index_t rows, index_t cols) {
  return {data.data(), rows, cols};
}
inline MatrixView<const float> view_of(const std::vector<float>& data, index_t rows, index_t cols) {
  return {data.data(), rows, cols};
}

}  // namespace hack::tests
