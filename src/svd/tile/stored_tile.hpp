#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/factored_linear.hpp"
#include "svd/tile/factor_type.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// A tile as readers see it, in the factor type; of int8 as f32, with the scales multiplied in.
struct StoredTile {
  kernels::Structure kind = kernels::Structure::low_rank;
  std::int32_t rank = 0;          ///< k
  std::vector<std::byte> u;       // (h, k) row-major; (h, w) of a dense tile; (h - k, k) of an interpolative one
  std::vector<std::byte> v;       // (k, w) row-major, Vᵀ or skeleton rows; empty of a dense tile
  std::vector<float> sigma;       // (k); empty where there is no spectrum
  std::vector<index_t> skeleton;  // (k) rows of the tile, ascending; empty of other kinds
};

/// What an archive's arrays have of one tile.
struct TileBytes {
  std::span<const std::byte> u;
  std::span<const std::byte> v;
  std::span<const bf16> u_scales;          // with int8 only; a scale for each row of u that has numbers
  std::span<const bf16> v_scales;          // likewise
  std::span<const std::uint8_t> skeleton;  // marks of an interpolative tile, where it has some
  std::span<const float> spectrum;         // all singular values, or none
};

/// Makes a StoredTile of them. An Error where a scale or a singular value is impossible.
StoredTile decode_tile(const Tile& at, kernels::Structure kind, std::int32_t rank, const TileBytes& bytes);

}  // namespace hack::svd
