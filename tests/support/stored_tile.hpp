#pragma once

#include <algorithm>
#include <vector>

#include "svd/factor_archive.hpp"

namespace hack::testing {

/// The numbers (h, w) that a tile of an archive of f32 stands for, in double: the slow twin of whoever reads archives.
inline std::vector<double> values_of(const svd::StoredTile& tile, const svd::Tile& at) {
  using kernels::TileKind;
  const auto* u = reinterpret_cast<const float*>(tile.u.data());
  const auto* v = reinterpret_cast<const float*>(tile.v.data());
  const index_t k = tile.rank;
  std::vector<double> values(static_cast<std::size_t>(at.height * at.width));
  index_t pivot = 0, other = 0;
  for (index_t i = 0; i < at.height; ++i) {
    const bool is_pivot = std::binary_search(tile.pivots.begin(), tile.pivots.end(), i);
    for (index_t j = 0; j < at.width; ++j) {
      double& x = values[i * at.width + j];
      if (tile.kind == TileKind::dense) x = u[i * at.width + j];
      if (is_pivot) x = v[pivot * at.width + j];
      for (index_t l = 0; l < k && tile.kind != TileKind::dense && !is_pivot; ++l) {
        const double factor = tile.kind == TileKind::pivoted ? u[other * k + l] : double{u[i * k + l]} * tile.sigma[l];
        x += factor * v[l * at.width + j];
      }
    }
    ++(is_pivot ? pivot : other);
  }
  return values;
}

}  // namespace hack::testing
