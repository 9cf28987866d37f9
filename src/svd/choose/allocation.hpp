#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "svd/choose/rank_policy.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// How a budget is divided.
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

/// A matrix that takes part in an allocation.
struct MatrixSpectra {
  std::string name;                 ///< for errors
  std::vector<TileSpectrum> tiles;  // (I * J), at least one; singular values of whitened tiles, or of plain ones
  double weight = 1;                ///< the cost of a unit of its discarded energy; 0 or more
};

/// Returns the tiles of a grid with their spectra; `sigma` holds r = min(h, w) of each, tile after tile, and must
/// outlive the result.
std::vector<TileSpectrum> tile_spectra(const TileGrid& grid, std::span<const float> sigma);

/// The result of an allocation.
struct Allocation {
  std::vector<std::vector<TileChoice>> choices;  ///< of each matrix, tile after tile; energies without weights
  index_t bytes = 0;                             ///< stored, the table of ranks included
  index_t bytes_dense = 0;
  double predicted_loss = 0;  ///< Σ weight · discarded
};

/// Chooses rank and kind of every tile so that Σ weight · discarded is least while Σ stored bytes <= keep · Σ dense
/// bytes, 0 <= keep <= 1. The method is bit allocation by convex hulls (Shoham and Gersho 1988, "Efficient bit
/// allocation for an arbitrary set of quantizers").
///
/// A tile may be of rank 0, align, 2 align, …, of the largest rank that is smaller than its dense form and no slower
/// (TileFormat::fast_share), or dense with its original values. Each choice is a point (bytes, discarded energy); only
/// points on the lower convex hull of a tile count: bytes of interpolative tiles are concave in the rank, so points
/// between two ranks can lie above the hull. The hull steps of all tiles are taken in the order of weighted energy per
/// byte, equals in the order of energy per byte: a matrix of weight 0 gets the bytes that the others do not need. The
/// first step that does not fit is replaced by as many single ranks of its tile as fit, even if align is larger: a
/// budget is a promise, alignment is speed, and one tile has little speed to lose. So
///
/// - stored bytes stay below the budget by less than one rank of one tile, as long as anything is left to discard;
/// - the weighted discarded energy is above the least possible by less than one hull step;
/// - it never grows with keep (with a ceiling: except for less than a step where a matrix meets its ceiling).
///
/// The floor holds along the way: whenever a matrix has less than floor times its share of the bytes spent so far, its
/// own best step goes first. That is also the optimum under the floors.
///
/// Mode uniform does the same in each matrix alone; weights then count in the prediction only. Mode even gives each
/// tile the largest rank whose stored bytes are at most keep times its dense bytes, rounded down to align; the rest of
/// the budget is not spent. A budget of 1 stores all tiles dense in every mode, with their tables on top; a budget
/// smaller than the tables leaves rank 0 everywhere.
///
/// Time O(S log S), S <= Σ r hull steps of 16 bytes each. An Error where an option is out of range, or a weight or
/// spectrum is not finite.
Allocation allocate(double keep, std::span<const MatrixSpectra> matrices, const AllocationOptions& options);

/// Returns the smallest keep, to 2^-20, whose predicted loss is at most `target_loss` (0 or more).
double smallest_keep(double target_loss, std::span<const MatrixSpectra> matrices, const AllocationOptions& options);

}  // namespace hack::svd
