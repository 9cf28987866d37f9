#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "svd/choose/rank_policy.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// How a budget is shared out.
enum class AllocationMode : std::uint8_t {
  global,   ///< one budget for all matrices
  uniform,  ///< each matrix a budget of its own, in proportion to its dense bytes
  even      ///< each tile a budget of its own; spectra do not matter
};

struct AllocationOptions {
  AllocationMode mode = AllocationMode::global;
  TileFormat format;
  /// Global only: every matrix gets at least floor · keep and at most ceiling · keep of its own dense bytes, to a step
  /// of one tile; 0 <= floor <= 1 <= ceiling.
  double floor = 0.5;
  double ceiling = std::numeric_limits<double>::infinity();
};

/// A matrix that takes part.
struct MatrixSpectra {
  std::string name;                 ///< for errors
  std::vector<TileSpectrum> tiles;  // (I * J), at least one; singular values of whitened tiles, or of plain ones
  double weight = 1;                ///< what a unit of its discarded energy costs; 0 or more
};

/// Returns the tiles of a grid with their spectra; `sigma` holds r = min(h, w) of each, tile after tile, and must
/// outlive the result.
std::vector<TileSpectrum> tile_spectra(const TileGrid& grid, std::span<const float> sigma);

/// What became of a budget.
struct Allocation {
  std::vector<std::vector<TileChoice>> choices;  ///< of each matrix, tile after tile; energies without weights
  index_t bytes = 0;                             ///< stored, the table of ranks included
  index_t bytes_dense = 0;
  double predicted_loss = 0;  ///< Σ weight · discarded
};

/// Chooses rank and kind of every tile so that Σ weight · discarded is least while Σ stored bytes <= keep · Σ dense
/// bytes, 0 <= keep <= 1.
///
/// A tile may be of rank 0, align, 2 align, …, of the largest rank that is smaller than its dense form and no slower
/// (TileFormat::fast_share), or dense with its original values. Of these points (bytes, discarded energy) the lower
/// convex hull counts: bytes of interpolative tiles are concave in the rank, so points between two ranks can lie above
/// it. All tiles' hull steps are taken in the order of weighted energy per byte, of equals first by energy per byte: a
/// weight of 0 leaves to a matrix what the others do not need. The first step that does not fit is replaced by as many
/// single ranks of its tile as do, even if align is larger: a budget is a promise, alignment is speed, and one tile has
/// none to lose. So
///
/// - stored bytes stay below the budget by less than one rank of one tile, as long as anything is left to discard;
/// - what is discarded, weighted, is more than the least possible by less than one hull step;
/// - it never grows with keep. (With a ceiling: but for less than a step where a matrix meets it.)
///
/// The floor holds along the way: whenever a matrix has less than floor times its share of what has been spent so far,
/// its own best step goes first. That is the optimum under the floors, too.
///
/// Mode uniform does the same in each matrix alone; weights then only count in the prediction. Mode even gives each
/// tile the largest rank whose bytes, all that is stored of it, are at most keep times its dense bytes, rounded down to
/// align; the budget's rest is not spent. A budget of 1 stores all tiles
/// dense in every mode (table on top); one smaller than the tables leaves rank 0 everywhere.
///
/// Time O(S log S), S <= Σ r hull steps of 16 bytes each. An Error where an option is out of range, or a weight or
/// spectrum is not finite.
Allocation allocate(double keep, std::span<const MatrixSpectra> matrices, const AllocationOptions& options);

/// Returns the smallest keep, to 2^-20, whose predicted loss is at most `target_loss` (0 or more).
double smallest_keep(double target_loss, std::span<const MatrixSpectra> matrices, const AllocationOptions& options);

}  // namespace hack::svd
