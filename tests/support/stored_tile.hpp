#pragma once

#include <algorithm>
#include <vector>

#include "svd/archive/factor_archive.hpp"

namespace hack::testing {

/// The numbers (h, w) that a tile of an archive of f32 stands for, in double: the slow twin of whoever reads archives.
inline std::vector<double> values_of(const svd::StoredTile& tile, const svd::Tile& at) {
  using kernels::Structure;
  const auto* u = reinterpret_cast<const float*>(tile.u.data());
  const auto* v = reinterpret_cast<const float*>(tile.v.data());
  const index_t k = tile.rank;
  std::vector<double> values(static_cast<std::size_t>(at.height * at.width));
  index_t skeleton_row = 0, other = 0;
  for (index_t i = 0; i < at.height; ++i) {
    const bool is_skeleton = std::binary_search(tile.skeleton.begin(), tile.skeleton.end(), i);
    for (index_t j = 0; j < at.width; ++j) {
      double& x = values[i * at.width + j];
      if (tile.kind == Structure::dense) x = u[i * at.width + j];
      if (is_skeleton) x = v[skeleton_row * at.width + j];
      for (index_t l = 0; l < k && tile.kind != Structure::dense && !is_skeleton; ++l) {
        const double factor =
            tile.kind == Structure::interpolative ? u[other * k + l] : double{u[i * k + l]} * tile.sigma[l];
        x += factor * v[l * at.width + j];
      }
    }
    ++(is_skeleton ? skeleton_row : other);
  }
  return values;
}

}  // namespace hack::testing
