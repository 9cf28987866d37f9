#include "svd/choose/rank_policy.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/error.hpp"
#include "svd/choose/allocation.hpp"

namespace hack::svd {
namespace {

using kernels::Structure;

index_t rank_of_tolerance(double tolerance, const TileSpectrum& tile) {
  const double allowed = tolerance * tolerance * make_choice(tile, Structure::dense, 0).energy;
  double discarded = 0;
  index_t k = tile.full_rank();
  for (; k > 0; --k) {
    const double sigma = tile.sigma[static_cast<std::size_t>(k - 1)];
    discarded += sigma * sigma;
    if (discarded > allowed) break;
  }
  return k;
}

}  // namespace

std::string_view to_string(RankRule::Kind kind) {
  switch (kind) {
    case RankRule::Kind::topk:
      return "topk";
    case RankRule::Kind::keep:
      return "keep";
    case RankRule::Kind::tolerance:
      return "tolerance";
    case RankRule::Kind::max_rank:
      return "max-rank";
  }
  return "?";
}

RankRule::Kind parse_rank_rule(std::string_view name) {
  for (RankRule::Kind kind :
       {RankRule::Kind::topk, RankRule::Kind::keep, RankRule::Kind::tolerance, RankRule::Kind::max_rank}) {
    if (name == to_string(kind)) return kind;
  }
  fail("unknown rank rule '{}' (known: topk, keep, tolerance, max-rank)", name);
}

void check_rank_rule(const RankRule& rule) {
  if (rule.kind == RankRule::Kind::max_rank) {
    validate(rule.value >= 1 && rule.value == std::floor(rule.value) && rule.value < 0x1p31,
             "max-rank {} is impossible; use a whole number of at least 1", rule.value);
    return;
  }
  const double limit = rule.kind == RankRule::Kind::tolerance ? HUGE_VAL : 1.0;
  validate(rule.value >= 0 && rule.value <= limit, "{} {} is impossible; use a number {}", to_string(rule.kind),
           rule.value, limit == 1.0 ? "from 0 to 1" : "of at least 0");
}

index_t rank_of_topk(double t, index_t full_rank) {
  // 0.29 * 100 is 28.999999999999996 in double: the rank meant is 29.
  return std::min(static_cast<index_t>(std::floor(t * static_cast<double>(full_rank) + 1e-9)), full_rank);
}

TileChoice make_choice(const TileSpectrum& tile, Structure kind, index_t rank) {
  TileChoice choice{kind, static_cast<std::int32_t>(rank), 0, 0};
  for (index_t k = tile.full_rank(); k > 0; --k) {
    const double sigma = tile.sigma[static_cast<std::size_t>(k - 1)];
    choice.energy += sigma * sigma;
    if (k - 1 == rank) choice.discarded = choice.energy;
  }
  return choice;
}

Structure smallest_kind(const TileFormat& format, index_t h, index_t w, index_t k) {
  if (!format.is_fast(k, std::min(h, w))) return Structure::dense;
  const Structure kind = format.storage;
  return stored_bytes(kind, h, w, k, format.type) < stored_bytes(Structure::dense, h, w, k, format.type)
             ? kind
             : Structure::dense;
}

std::vector<TileChoice> choose_ranks(const RankRule& rule, std::span<const TileSpectrum> tiles,
                                     const TileFormat& format) {
  check_rank_rule(rule);
  if (tiles.empty()) return {};
  if (rule.kind == RankRule::Kind::keep) {
    const MatrixSpectra matrix{"", {tiles.begin(), tiles.end()}, 1};
    const AllocationOptions options{.mode = AllocationMode::uniform, .format = format};
    return allocate(rule.value, std::span(&matrix, 1), options).choices.front();
  }
  std::vector<TileChoice> choices;
  for (const TileSpectrum& tile : tiles) {
    HACK_EXPECT(tile.full_rank() == std::min(tile.height, tile.width));
    if (rule.kind == RankRule::Kind::max_rank) {
      const index_t kept = std::min(static_cast<index_t>(rule.value), tile.full_rank());
      choices.push_back(make_choice(tile, Structure::low_rank, kept));
      continue;
    }
    const index_t k = rule.kind == RankRule::Kind::topk ? rank_of_topk(rule.value, tile.full_rank())
                                                        : rank_of_tolerance(rule.value, tile);
    choices.push_back(make_choice(tile, smallest_kind(format, tile.height, tile.width, k), k));
  }
  return choices;
}

}  // namespace hack::svd
