#include "svd/choose/allocation.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/error.hpp"
#include "svd/choose/rank_path.hpp"
#include "svd/choose/rank_walk.hpp"

namespace hack::svd {
namespace {

using kernels::Structure;

/// Largest rank of a tile that is not slower than the dense tile and takes at most keep times its bytes; 0 where no
/// rank does.
index_t even_rank(const TileSpectrum& tile, const TileFormat& format, double keep) {
  const double budget = keep * static_cast<double>(dense_bytes(tile.height, tile.width, format.type));
  index_t k = 0;
  while (k < tile.full_rank() && static_cast<double>(option_bytes(tile, format, k + 1)) <= budget) ++k;
  if (k < tile.full_rank()) k = std::min(k, largest_rank(tile, format));
  return k - k % format.align;
}

using Ranks = std::vector<std::vector<index_t>>;  // of each matrix, tile after tile

template <class F>
Ranks ranks_by_tile(std::span<const MatrixSpectra> matrices, const F& rank_of) {
  Ranks ranks;
  for (const MatrixSpectra& matrix : matrices) {
    std::vector<index_t>& of_matrix = ranks.emplace_back();
    for (const TileSpectrum& tile : matrix.tiles) of_matrix.push_back(rank_of(tile));
  }
  return ranks;
}

std::vector<RankPath> paths_of(std::span<const MatrixSpectra> matrices, const AllocationOptions& options) {
  validate(options.floor >= 0 && options.floor <= 1, "a floor of {} is impossible; use a number from 0 to 1",
           options.floor);
  validate(options.ceiling >= 1, "a ceiling of {} is impossible; use a number of at least 1", options.ceiling);
  validate(options.format.align >= 1, "ranks cannot be multiples of {}; use 1 or more", options.format.align);
  std::vector<RankPath> paths;
  for (const MatrixSpectra& matrix : matrices) paths.emplace_back(matrix, options.format);
  return paths;
}

Ranks choose(double keep, std::span<const MatrixSpectra> matrices, const std::vector<RankPath>& paths,
             const AllocationOptions& options) {
  if (keep >= 1) return ranks_by_tile(matrices, [](const TileSpectrum& tile) { return tile.full_rank(); });
  if (options.mode == AllocationMode::even) {
    return ranks_by_tile(matrices, [&](const TileSpectrum& tile) { return even_rank(tile, options.format, keep); });
  }
  RankWalk walk(paths, options);
  walk.go_to(keep);
  walk.spend_rest(keep);
  Ranks ranks;
  for (std::size_t m = 0; m < matrices.size(); ++m) {
    std::vector<index_t>& of_matrix = ranks.emplace_back();
    for (std::size_t t = 0; t < matrices[m].tiles.size(); ++t) of_matrix.push_back(walk.rank(m, t));
  }
  return ranks;
}

Allocation describe(const Ranks& ranks, std::span<const MatrixSpectra> matrices, const TileFormat& format) {
  Allocation result;
  for (std::size_t m = 0; m < matrices.size(); ++m) {
    std::vector<TileChoice>& choices = result.choices.emplace_back();
    double discarded = 0;
    for (std::size_t t = 0; t < ranks[m].size(); ++t) {
      const TileSpectrum& tile = matrices[m].tiles[t];
      const Structure kind = ranks[m][t] == tile.full_rank() ? Structure::dense : format.storage;
      choices.push_back(make_choice(tile, kind, ranks[m][t]));
      discarded += choices.back().discarded;
      result.bytes += option_bytes(tile, format, ranks[m][t]);
      result.bytes_dense += dense_bytes(tile.height, tile.width, format.type);
    }
    result.predicted_loss += matrices[m].weight * discarded;
  }
  return result;
}

/// Smallest keep in (0, 1], to 2^-20, that is enough; `is_enough` never turns from true to false.
template <class F>
double bisect(const F& is_enough) {
  double too_small = 0;
  double enough = 1;
  while (enough - too_small > 0x1p-20) {
    const double middle = (too_small + enough) / 2;
    (is_enough(middle) ? enough : too_small) = middle;
  }
  return enough;
}

}  // namespace

std::vector<TileSpectrum> tile_spectra(const TileGrid& grid, std::span<const float> sigma) {
  std::vector<TileSpectrum> spectra;
  std::size_t at = 0;
  for (index_t number = 0; number < grid.size(); ++number) {
    const Tile tile = grid.tile(number);
    const auto r = static_cast<std::size_t>(tile.full_rank());
    HACK_EXPECT(at + r <= sigma.size());
    spectra.push_back({tile.height, tile.width, sigma.subspan(at, r)});
    at += r;
  }
  HACK_EXPECT(at == sigma.size());
  return spectra;
}

Allocation allocate(double keep, std::span<const MatrixSpectra> matrices, const AllocationOptions& options) {
  check_rank_rule({RankRule::Kind::keep, keep});
  return describe(choose(keep, matrices, paths_of(matrices, options), options), matrices, options.format);
}

double smallest_keep(double target_loss, std::span<const MatrixSpectra> matrices, const AllocationOptions& options) {
  validate(target_loss >= 0, "a loss of {} cannot be reached; use a number of at least 0", target_loss);
  const std::vector<RankPath> paths = paths_of(matrices, options);
  RankWalk known(paths, options);  // to the largest budget known to be too small
  if (known.loss() <= target_loss) return 0;
  if (options.mode == AllocationMode::even || std::isfinite(options.ceiling)) {
    return bisect([&](double keep) {
      return describe(choose(keep, matrices, paths, options), matrices, options.format).predicted_loss <= target_loss;
    });
  }
  return bisect([&](double keep) {
    RankWalk walk = known;
    walk.go_to(keep);
    RankWalk ended = walk;
    ended.spend_rest(keep);
    if (ended.loss() <= target_loss) return true;
    known = std::move(walk);
    return false;
  });
}

}  // namespace hack::svd
