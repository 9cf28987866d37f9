#pragma once

#include <algorithm>
#include <vector>

#include "svd/archive/factor_archive.hpp"

namespace hack::testing {

inline std::vector<float> widened(const svd::EncodedArray& array) {
  std::vector<float> numbers(static_cast<std::size_t>(array.rows * array.cols));
  array.widen_to(numbers.data());
  return numbers;
}

/// Adds the numbers (h, w) that a term stands for, in double: the slow twin of whoever reads archives.
inline void add_values(const svd::StoredTerm& term, std::vector<double>& values) {
  using svd::Structure;
  const index_t k = term.rank, w = term.width;
  const bool is_dense = term.structure == Structure::dense, is_product = term.structure == Structure::low_rank;
  const std::vector<float> u = widened(term.left());
  const std::vector<float> v = is_dense ? std::vector<float>() : widened(term.right());
  const std::vector<float> sigma = is_product ? term.sigma() : std::vector<float>();
  const std::vector<index_t> skeleton = is_dense || is_product ? std::vector<index_t>() : term.skeleton();
  index_t skeleton_row = 0, other = 0;
  for (index_t i = 0; i < term.height; ++i) {
    const bool is_skeleton = std::binary_search(skeleton.begin(), skeleton.end(), i);
    for (index_t j = 0; j < w; ++j) {
      double& x = values[i * w + j];
      if (is_dense) x += u[i * w + j];
      if (is_skeleton) x += v[skeleton_row * w + j];
      for (index_t l = 0; l < k && !is_dense && !is_skeleton; ++l) {
        x += (is_product ? double{u[i * k + l]} * sigma[l] : u[other * k + l]) * v[l * w + j];
      }
    }
    ++(is_skeleton ? skeleton_row : other);
  }
}

/// The numbers (h, w) that a tile stands for: the sum of its terms.
inline std::vector<double> values_of(const svd::StoredTile& tile, const svd::Tile& at) {
  std::vector<double> values(static_cast<std::size_t>(at.height * at.width));
  for (const svd::StoredTerm& term : tile.terms) add_values(term, values);
  return values;
}

}  // namespace hack::testing
