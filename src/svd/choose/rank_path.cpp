#include "svd/choose/rank_path.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/error.hpp"

namespace hack::svd {

using kernels::Structure;

index_t option_bytes(const TileSpectrum& tile, const TileFormat& format, index_t rank) {
  const Structure kind = rank == tile.full_rank() ? Structure::dense : format.storage;
  return stored_bytes(kind, tile.height, tile.width, rank, format.type);
}

index_t largest_rank(const TileSpectrum& tile, const TileFormat& format) {
  const index_t full = tile.full_rank();
  const index_t dense = option_bytes(tile, format, full);
  index_t rank = full - 1;
  while (rank > 0 && (!format.is_fast(rank, full) || option_bytes(tile, format, rank) >= dense)) --rank;
  return rank;
}

RankPath::RankPath(const MatrixSpectra& matrix, const TileFormat& format) : matrix_(&matrix), format_(format) {
  validate(matrix.weight >= 0 && std::isfinite(matrix.weight),
           "matrix {} has the weight {}; weights are finite numbers of at least 0", matrix.name, matrix.weight);
  HACK_EXPECT(!matrix.tiles.empty());
  for (std::size_t t = 0; t < matrix.tiles.size(); ++t) {
    append_hull(t);
    all_dense_bytes_ += dense_bytes(tile(t).height, tile(t).width, format.type);
    least_bytes_ += bytes(t, 0);
  }
  std::sort(steps_.begin(), steps_.end(), [](const Step& a, const Step& b) {
    if (a.gain != b.gain) return a.gain > b.gain;
    return a.tile != b.tile ? a.tile < b.tile : a.rank < b.rank;
  });
}

/// Σ σ² from index k on, k = 0 … r; summed from the small end.
std::vector<double> RankPath::discarded_energies(std::size_t t) const {  // (r + 1)
  const std::span<const float> sigma = tile(t).sigma;
  HACK_EXPECT(std::ssize(sigma) == std::min(tile(t).height, tile(t).width));
  std::vector<double> out(sigma.size() + 1, 0.0);
  for (std::size_t k = sigma.size(); k-- > 0;) out[k] = out[k + 1] + static_cast<double>(sigma[k]) * sigma[k];
  validate(std::isfinite(out.front()), "matrix {}, tile {} has singular values that are not finite", matrix_->name, t);
  return out;
}

/// Invariant: the tile's steps, from `first` on, are the lower hull of the points seen so far, so their gains fall. A
/// new point that makes a gain rise takes the corner before it off the hull (Andrew's monotone chain; bytes ascend with
/// the rank). Falling gains within every tile are what lets a sort of all steps keep the order of each tile.
void RankPath::append_hull(std::size_t t) {
  const std::vector<double> discarded = discarded_energies(t);
  const std::size_t first = steps_.size();
  const auto step_to = [&](index_t rank) {
    const index_t from = steps_.size() > first ? steps_.back().rank : 0;
    const double saved = discarded[static_cast<std::size_t>(from)] - discarded[static_cast<std::size_t>(rank)];
    return Step{saved / static_cast<double>(bytes(t, rank) - bytes(t, from)), static_cast<std::int32_t>(t),
                static_cast<std::int32_t>(rank)};
  };
  const auto append = [&](index_t rank) {
    Step step = step_to(rank);
    if (!(step.gain > 0)) return;
    while (steps_.size() > first && step.gain >= steps_.back().gain) {
      steps_.pop_back();
      step = step_to(rank);
    }
    steps_.push_back(step);
  };
  const index_t full = tile(t).full_rank();
  const index_t largest = largest_rank(tile(t), format_);
  for (index_t rank = format_.align; rank < largest; rank += format_.align) append(rank);
  if (largest > 0) append(largest);
  append(full);
}

}  // namespace hack::svd
