#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/dtype.hpp"
#include "kernels/factored_linear.hpp"

namespace hack::svd {

/// How many singular values the tiles keep. With r = min(h, w) and the energy of a tile Σ σ²:
///
///     topk t        k = floor(t r), tile by tile; 0 <= t <= 1
///     tolerance e   smallest k that discards at most e² of the tile's energy; e >= 0
///     keep q        ranks that discard the least energy of a matrix while its stored bytes are at most q times its
///                   bytes as dense numbers of the same type; 0 <= q <= 1
///
/// The budget of `keep` is one of each matrix by itself. Ranks dealt across matrices by energy alone ruin the model:
/// what a lost unit of energy costs differs by orders of magnitude between matrices, so measured perplexity was worse
/// by orders of magnitude than with equal budgets.
struct RankRule {
  enum class Kind : std::uint8_t { topk, keep, tolerance };
  Kind kind = Kind::topk;
  double value = 1;

  bool operator==(const RankRule&) const = default;
};

std::string_view to_string(RankRule::Kind kind);

/// Reads "topk", "keep" or "tolerance"; anything else is an Error.
RankRule::Kind parse_rank_rule(std::string_view name);

/// Throws an Error unless the value is one the rule knows.
void check_rank_rule(const RankRule& rule);

/// What a policy needs to know of a tile.
struct TileSpectrum {
  index_t height = 0;
  index_t width = 0;
  std::span<const float> sigma;  // (min(height, width)) descending
};

/// What a policy decides for a tile. A dense tile of full rank keeps its original values; of a lower one, it is the
/// product U_k diag(sigma_k) V_kᵀ.
struct TileChoice {
  kernels::TileKind kind = kernels::TileKind::factors;
  std::int32_t rank = 0;
  double energy = 0;     ///< Σ σ²
  double discarded = 0;  ///< Σ σ² of the singular values left out; 0 for original values
};

/// Chooses rank and kind of every tile; factors will be stored as `type`.
///
/// Under topk and tolerance the rank stands and the tile is stored in whichever form is smaller; any tiles may be
/// given. Under keep the tiles must be all of one matrix. Each tile may be factors of rank 0, 1, … as long as they are
/// smaller than its dense form, or dense with its original values; the steps along the lower convex hulls of (bytes,
/// discarded energy) are taken in the order of energy per byte, those that no longer fit are replaced by single ranks.
/// What is discarded never grows with the budget. The stored bytes stay below the budget by less than one rank of one
/// tile, unless nothing is left to discard. The table of ranks is always stored, so a budget smaller than it leaves
/// rank 0 everywhere; a budget of 1 stores all tiles dense (the table then comes on top).
std::vector<TileChoice> choose_ranks(const RankRule& rule, std::span<const TileSpectrum> tiles, DType type);

}  // namespace hack::svd
