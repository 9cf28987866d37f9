#include "svd/rank_policy.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <queue>

#include "kernels/error.hpp"
#include "svd/storage.hpp"

namespace hack::svd {
namespace {

using kernels::TileKind;

/// Energy discarded at rank k, Σ_{i >= k} σ_i², for k = 0 … r; summed from the small end.
std::vector<double> discarded_energies(std::span<const float> sigma) {  // (r + 1)
  std::vector<double> out(sigma.size() + 1, 0.0);
  for (std::size_t k = sigma.size(); k-- > 0;) out[k] = out[k + 1] + static_cast<double>(sigma[k]) * sigma[k];
  return out;
}

index_t rank_of_topk(double t, index_t full_rank) {
  // 0.29 * 100 is 28.999999999999996 in double: the rank meant is 29.
  return std::min(static_cast<index_t>(std::floor(t * static_cast<double>(full_rank) + 1e-9)), full_rank);
}

index_t rank_of_tolerance(double tolerance, const std::vector<double>& discarded) {
  const double allowed = tolerance * tolerance * discarded.front();
  index_t k = 0;
  while (discarded[static_cast<std::size_t>(k)] > allowed) ++k;
  return k;
}

TileChoice choose_by_itself(const RankRule& rule, const TileSpectrum& tile, DType type) {
  const std::vector<double> discarded = discarded_energies(tile.sigma);
  const index_t k = rule.kind == RankRule::Kind::topk ? rank_of_topk(rule.value, std::ssize(tile.sigma))
                                                      : rank_of_tolerance(rule.value, discarded);
  const bool factors_are_smaller = stored_bytes(TileKind::factors, tile.height, tile.width, k, type) <
                                   stored_bytes(TileKind::dense, tile.height, tile.width, k, type);
  return {factors_are_smaller ? TileKind::factors : TileKind::dense, static_cast<std::int32_t>(k), discarded.front(),
          discarded[static_cast<std::size_t>(k)]};
}

/// A way to store a tile.
struct Option {
  index_t bytes;
  TileChoice choice;
};

/// The ways to store one tile, by growing bytes: factors of rank 0, 1, … and dense.
std::vector<Option> storage_options(const TileSpectrum& tile, DType type) {
  const std::vector<double> discarded = discarded_energies(tile.sigma);
  const index_t r = std::ssize(tile.sigma);
  const index_t dense = stored_bytes(TileKind::dense, tile.height, tile.width, r, type);
  std::vector<Option> options;
  for (index_t k = 0; k <= r; ++k) {
    const index_t bytes = stored_bytes(TileKind::factors, tile.height, tile.width, k, type);
    if (bytes >= dense) break;
    options.push_back(
        {bytes,
         {TileKind::factors, static_cast<std::int32_t>(k), discarded.front(), discarded[static_cast<std::size_t>(k)]}});
  }
  options.push_back({dense, {TileKind::dense, static_cast<std::int32_t>(r), discarded.front(), 0.0}});
  return options;
}

/// Energy saved per byte by going from one option to a larger one.
double gain(const Option& from, const Option& to) {
  return (from.choice.discarded - to.choice.discarded) / static_cast<double>(to.bytes - from.bytes);
}

/// Indices of the options on the lower convex hull of (bytes, discarded energy), as far as energy still falls.
std::vector<std::size_t> lower_hull(const std::vector<Option>& options) {
  std::vector<std::size_t> hull = {0};
  for (std::size_t next = 1; next < options.size(); ++next) {
    if (options[next].choice.discarded >= options[hull.back()].choice.discarded) continue;
    while (hull.size() >= 2 &&
           gain(options[hull.back()], options[next]) >= gain(options[hull[hull.size() - 2]], options[hull.back()])) {
      hull.pop_back();
    }
    hull.push_back(next);
  }
  return hull;
}

/// One tile's way up through its options: along the hull, and by single ranks from where a hull step did not fit.
class Ladder {
 public:
  Ladder(const TileSpectrum& tile, DType type) : options_(storage_options(tile, type)), hull_(lower_hull(options_)) {}

  const Option& current() const { return options_[at_]; }

  /// The option one step up; none at the end.
  std::optional<std::size_t> next() const {
    if (on_hull_) return hull_at_ + 1 < hull_.size() ? std::optional(hull_[hull_at_ + 1]) : std::nullopt;
    // The dense form is out of reach here: it is the largest, and something smaller did not fit.
    const bool is_rank_left = at_ + 1 < options_.size() && options_[at_ + 1].choice.kind == TileKind::factors;
    if (!is_rank_left || options_[at_ + 1].choice.discarded >= current().choice.discarded) return std::nullopt;
    return at_ + 1;
  }
  double next_gain() const { return gain(current(), options_[*next()]); }
  index_t next_bytes() const { return options_[*next()].bytes - current().bytes; }

  void step() {
    at_ = *next();
    if (on_hull_) ++hull_at_;
  }

  /// After a step that does not fit: turns to single ranks; whether that is something else.
  bool turn_to_single_ranks() {
    const bool is_other = on_hull_ && *next() > at_ + 1;
    on_hull_ = false;
    return is_other;
  }

 private:
  std::vector<Option> options_;
  std::vector<std::size_t> hull_;
  std::size_t at_ = 0;
  std::size_t hull_at_ = 0;
  bool on_hull_ = true;
};

/// A step that waits for its turn; the largest gain comes first, of equals the tile with the lower number.
struct Step {
  double gain;
  std::size_t tile;

  bool operator<(const Step& other) const { return gain != other.gain ? gain < other.gain : tile > other.tile; }
};

/// Climbs the ladders, best step first, as far as `room` bytes allow. All candidates wait in one queue, so a larger
/// budget first differs by a step that a smaller one could not take and whose gain no later step exceeds: it wins.
void spend(std::vector<Ladder>& ladders, index_t room) {
  std::priority_queue<Step> steps;
  const auto enqueue = [&](std::size_t t) {
    if (ladders[t].next()) steps.push({ladders[t].next_gain(), t});
  };
  for (std::size_t t = 0; t < ladders.size(); ++t) enqueue(t);
  while (!steps.empty()) {
    const std::size_t t = steps.top().tile;
    steps.pop();
    const index_t bytes = ladders[t].next_bytes();
    if (bytes <= room) {
      room -= bytes;
      ladders[t].step();
      enqueue(t);
    } else if (ladders[t].turn_to_single_ranks()) {
      enqueue(t);
    }
  }
}

std::vector<TileChoice> choose_by_budget(double keep, std::span<const TileSpectrum> tiles, DType type) {
  std::vector<Ladder> ladders;
  std::vector<TileChoice> choices;
  index_t all_dense = 0;
  index_t spent = 0;
  for (const TileSpectrum& tile : tiles) {
    ladders.emplace_back(tile, type);
    all_dense += dense_bytes(tile.height, tile.width, type);
    spent += ladders.back().current().bytes;
  }
  if (keep >= 1) {
    for (const TileSpectrum& tile : tiles) choices.push_back(storage_options(tile, type).back().choice);
    return choices;
  }
  spend(ladders, static_cast<index_t>(std::floor(keep * static_cast<double>(all_dense) + 1e-6)) - spent);
  for (const Ladder& ladder : ladders) choices.push_back(ladder.current().choice);
  return choices;
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
  }
  return "?";
}

RankRule::Kind parse_rank_rule(std::string_view name) {
  for (RankRule::Kind kind : {RankRule::Kind::topk, RankRule::Kind::keep, RankRule::Kind::tolerance}) {
    if (name == to_string(kind)) return kind;
  }
  fail("unknown rank rule '{}' (known: topk, keep, tolerance)", name);
}

void check_rank_rule(const RankRule& rule) {
  const double limit = rule.kind == RankRule::Kind::tolerance ? HUGE_VAL : 1.0;
  validate(rule.value >= 0 && rule.value <= limit, "{} {} is impossible; use a number {}", to_string(rule.kind),
           rule.value, limit == 1.0 ? "from 0 to 1" : "of at least 0");
}

std::vector<TileChoice> choose_ranks(const RankRule& rule, std::span<const TileSpectrum> tiles, DType type) {
  check_rank_rule(rule);
  for (const TileSpectrum& tile : tiles) HACK_EXPECT(std::ssize(tile.sigma) == std::min(tile.height, tile.width));
  if (rule.kind == RankRule::Kind::keep) return choose_by_budget(rule.value, tiles, type);
  std::vector<TileChoice> choices;
  for (const TileSpectrum& tile : tiles) choices.push_back(choose_by_itself(rule, tile, type));
  return choices;
}

}  // namespace hack::svd
