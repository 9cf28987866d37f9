#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/factored_linear.hpp"
#include "svd/tile/storage.hpp"

namespace hack::svd {

/// How many singular values a tile keeps. With r = min(h, w) and the energy of a tile Σ σ²:
///
///     topk t        k = floor(t r), tile by tile; 0 <= t <= 1
///     tolerance e   smallest k that discards at most e² of the tile's energy; e >= 0
///     keep q        ranks that discard the least energy of a matrix while its stored bytes are at most q times its
///                   bytes as dense numbers of the same type; 0 <= q <= 1
///     max-rank R    k = min(R, r) as two factors, for ranks that are chosen later: SelectedFactors; R >= 1
///
/// The budget of `keep` is for each matrix by itself; `allocate` divides one budget over several matrices.
struct RankRule {
  enum class Kind : std::uint8_t { topk, keep, tolerance, max_rank };
  Kind kind = Kind::topk;
  double value = 1;

  bool operator==(const RankRule&) const = default;
};

std::string_view to_string(RankRule::Kind kind);

/// Reads "topk", "keep", "tolerance" or "max-rank"; anything else is an Error.
RankRule::Kind parse_rank_rule(std::string_view name);

/// Throws an Error unless the value is one the rule knows.
void check_rank_rule(const RankRule& rule);

/// floor(t r)
index_t rank_of_topk(double t, index_t full_rank);

/// How tiles will be stored.
struct TileFormat {
  Structure storage = Structure::interpolative;
  Codec type = Codec::bf16;
  index_t align = 1;  ///< budgets choose multiples of it as ranks, as far as the bytes allow
  /// Share of the full rank up to which a tile's low-rank form is no slower than its dense form; a tile of a larger
  /// rank is dense.
  double fast_share = 1;

  bool is_fast(index_t rank, index_t full_rank) const {
    return static_cast<double>(rank) <= fast_share * static_cast<double>(full_rank);
  }
};

/// Shape and singular values of a tile, on which a policy decides.
struct TileSpectrum {
  index_t height = 0;
  index_t width = 0;
  std::span<const float> sigma;  // (min(height, width)) descending

  index_t full_rank() const { return std::ssize(sigma); }
};

/// A policy's decision for a tile. A dense tile of full rank keeps its original values; a dense tile of lower rank is
/// the product U_k diag(sigma_k) V_kᵀ.
struct TileChoice {
  kernels::Structure kind = kernels::Structure::low_rank;
  std::int32_t rank = 0;
  double energy = 0;     ///< Σ σ²
  double discarded = 0;  ///< Σ σ² of the singular values left out; 0 for original values
};

/// Returns the choice of this kind and rank with the tile's energies, each summed from the smallest value up.
TileChoice make_choice(const TileSpectrum& tile, kernels::Structure kind, index_t rank);

/// Returns the smallest form of a tile (h, w) of rank k: the storage's kind, or dense where dense is not larger, or
/// faster. At full rank it is always dense.
kernels::Structure smallest_kind(const TileFormat& format, index_t h, index_t w, index_t k);

/// Chooses rank and kind of every tile.
///
/// Under topk and tolerance the rule fixes the rank, and the tile is stored as its smallest kind; any tiles may be
/// given. Under keep the tiles must be all tiles of one matrix; see `allocate`, mode uniform.
std::vector<TileChoice> choose_ranks(const RankRule& rule, std::span<const TileSpectrum> tiles,
                                     const TileFormat& format);

}  // namespace hack::svd
