#pragma once

#include <optional>
#include <span>
#include <string>

#include "svd/archive/archive_info.hpp"
#include "svd/choose/rank_policy.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// What became of one matrix, or of all together.
struct CompressionSummary {
  std::string name;
  index_t bytes_factors = 0;
  index_t bytes_dense = 0;
  double energy = 0;     ///< Σ σ², tile after tile
  double discarded = 0;  ///< of it left out by the ranks
  index_t tiles = 0;
  index_t dense_tiles = 0;
  index_t min_rank = 0;
  index_t max_rank = 0;
  double mean_rank = 0;
  std::optional<Codec> codec;  ///< of its numbers; none of several matrices together

  /// bytes_factors / bytes_dense
  double keep() const;
  /// ‖W - W_k‖ / ‖W‖ in the Frobenius norm, before rounding to the factor type; 0 for a matrix of zeros.
  double relative_error() const;
};

/// Adds up what the choices say of a matrix stored in this codec.
CompressionSummary summarize(const std::string& name, const TileGrid& grid, std::span<const TileChoice> tiles,
                             Codec codec);

/// All matrices as one.
CompressionSummary total_of(std::span<const CompressionSummary> matrices);

}  // namespace hack::svd
