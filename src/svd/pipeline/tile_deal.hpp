#pragma once

#include <span>
#include <vector>

#include "svd/archive/archive_info.hpp"
#include "svd/pipeline/step_memory.hpp"
#include "svd/tile/range.hpp"

namespace hack::svd {

/// Deals the tiles of a few matrices, numbered through, to ranks: rank p gets those whose middle lies in its share of
/// the cost h w min(h, w), shares being laid out one after the other:
///
///     shares | 1/2         | 1/4   | 1/4 |
///     tiles  | 0 1 2 3 4 5 | 6 7 8 | 9 … |
///
/// The same on every rank, and all tiles are dealt. Where there are few tiles for each rank, shares count as equal.
std::vector<Range> deal_tiles(std::span<const TileGrid> grids, std::span<const double> shares);

/// No rank gets more than so many even shares: the memory it takes is bounded too.
constexpr double largest_share = 1.25;

/// Shares of the cost by what each rank took for its last: half the way to shares of equal time, at most largest_share.
/// `costs` and `seconds` of ranks that did nothing are 0; they keep theirs.
std::vector<double> balanced_shares(std::span<const double> shares, std::span<const double> costs,
                                    std::span<const double> seconds);

/// What a tile costs to factorize, up to a constant.
double cost_of(const Tile& tile);

/// What a batch takes of memory that is dealt so, on such a device, with so many threads on each rank. For a tile (h,
/// w), r = min(h, w), of rank at most k:
///
///     values    4 h w
///     working   reduced forms of all tiles: 4 r² bytes, 8 r² above r = 256. For `tiles_at_once`: vectors 4 k (h + w),
///               then scratch of the SVD; or, in place of reduced forms, skeleton rows and coefficients 4 k (h + w -
///               k), and scratch of pivoting 8 (h k + k² + 2 k w)
///     encoded   h w numbers of the factor type; under max-rank 4 k (h + w) and the original values; spectra
///
/// Where a GPU works, `working` is spectra, of all tiles, and for `tiles_at_once` values and vectors or skeleton rows
/// that come back; tiles taller than 256 rows are interpolative on the host as above. Those that go to the host's
/// threads altogether are not counted. `gpu`, of all tiles, is values and reduced forms, 4 r (h + w) up to 128 × 128
/// and 8 r (r + 1)
/// above; for `tiles_at_once` vectors, skeleton rows and coefficients as above, scratch of the SVD above 128 ×
/// 128, 8 (h w + 128 max(h, w)), and of pivoting, 8 h k.
StepMemory memory_of(const CompressOptions& options, std::span<const TileGrid> grids, std::span<const Range> dealt,
                     Device device, int threads);

/// Tiles of a batch of this shape whose vectors are held at once: as many as have 2^20 numbers, or one, for each
/// thread; on GPUs, where a tile is a block's work and some waves of blocks fill the device, as many as have 2^24.
index_t tiles_at_once(const TileGrid& grid, Device device, int threads);

}  // namespace hack::svd
