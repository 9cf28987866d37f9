#pragma once

#include <cstdint>
#include <vector>

#include "svd/choose/allocation.hpp"

namespace hack::svd {

/// Returns the bytes of a tile in a form that a budget may choose: full rank means the original values, because a
/// low-rank form of full rank is never smaller.
index_t option_bytes(const TileSpectrum& tile, const TileFormat& format, index_t rank);

/// Returns the largest rank of a tile whose low-rank form is smaller than the dense form and no slower; 0 where no rank
/// is.
index_t largest_rank(const TileSpectrum& tile, const TileFormat& format);

/// The way of one matrix from rank 0 everywhere to all dense: the steps of its tiles from one corner of their lower
/// convex hulls of (bytes, discarded energy) to the next, in descending order of the energy that a step saves per byte.
/// The steps of a tile end where nothing is left to discard.
class RankPath {
 public:
  struct Step {
    double gain;  ///< energy saved per byte
    std::int32_t tile;
    std::int32_t rank;  ///< afterwards
  };

  /// `matrix` outlives this. An Error names it where its weight or a spectrum is not finite.
  RankPath(const MatrixSpectra& matrix, const TileFormat& format);

  const MatrixSpectra& matrix() const { return *matrix_; }
  const TileSpectrum& tile(std::size_t t) const { return matrix_->tiles[t]; }
  const std::vector<Step>& steps() const { return steps_; }
  index_t bytes(std::size_t t, index_t rank) const { return option_bytes(tile(t), format_, rank); }
  /// The rank of the tile's next smaller form: from dense the largest rank that counts, else one rank less.
  index_t smaller_rank(std::size_t t, index_t rank) const {
    return rank == tile(t).full_rank() ? largest_rank(tile(t), format_) : rank - 1;
  }

  /// Bytes of the matrix as dense numbers, and with rank 0 everywhere.
  index_t all_dense_bytes() const { return all_dense_bytes_; }
  index_t least_bytes() const { return least_bytes_; }

 private:
  std::vector<double> discarded_energies(std::size_t t) const;
  void append_hull(std::size_t t);

  const MatrixSpectra* matrix_;
  TileFormat format_;
  std::vector<Step> steps_;
  index_t all_dense_bytes_ = 0;
  index_t least_bytes_ = 0;
};

}  // namespace hack::svd
