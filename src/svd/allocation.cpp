#include "svd/allocation.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <queue>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

using kernels::TileKind;

/// Bytes of a tile as an option of a budget: full rank means its original values, no low-rank form is as small.
index_t option_bytes(const TileSpectrum& tile, const TileFormat& format, index_t rank) {
  const TileKind kind = rank == tile.full_rank() ? TileKind::dense : kind_of(format.storage);
  return stored_bytes(kind, tile.height, tile.width, rank, format.type);
}

/// Bytes that may be spent; a keep of 0.3 may be 0.299…9 in double.
index_t budget_of(double keep, index_t dense) {
  return static_cast<index_t>(std::floor(keep * static_cast<double>(dense) + 1e-6));
}

/// A tile's way from one point of its hull to the next.
struct Step {
  double gain;  ///< energy saved per byte
  std::int32_t tile;
  std::int32_t rank;  ///< afterwards

  bool operator<(const Step& other) const {  // best first
    if (gain != other.gain) return gain > other.gain;
    return tile != other.tile ? tile < other.tile : rank < other.rank;
  }
};

/// The steps of all tiles of a matrix in the order of what they save per byte.
class Path {
 public:
  Path(const MatrixSpectra& matrix, const TileFormat& format) : matrix_(&matrix), format_(format) {
    validate(matrix.weight >= 0 && std::isfinite(matrix.weight),
             "matrix {} has the weight {}; weights are finite numbers of at least 0", matrix.name, matrix.weight);
    HACK_EXPECT(!matrix.tiles.empty());
    for (std::size_t t = 0; t < matrix.tiles.size(); ++t) {
      append_hull(static_cast<std::int32_t>(t));
      dense_bytes_ += dense_bytes(tile(t).height, tile(t).width, format.type);
      least_bytes_ += bytes(t, 0);
    }
    std::sort(steps_.begin(), steps_.end());
  }

  const MatrixSpectra& matrix() const { return *matrix_; }
  const TileSpectrum& tile(std::size_t t) const { return matrix_->tiles[t]; }
  const std::vector<Step>& steps() const { return steps_; }
  index_t dense_numbers_bytes() const { return dense_bytes_; }
  index_t least_bytes() const { return least_bytes_; }
  index_t bytes(std::size_t t, index_t rank) const { return option_bytes(tile(t), format_, rank); }

 private:
  /// Σ σ² from index k on, k = 0 … r, of a tile into discarded_.
  void sum_energies(std::size_t t) {
    const std::span<const float> sigma = tile(t).sigma;
    HACK_EXPECT(std::ssize(sigma) == std::min(tile(t).height, tile(t).width));
    discarded_.assign(sigma.size() + 1, 0.0);
    for (std::size_t k = sigma.size(); k-- > 0;) {
      discarded_[k] = discarded_[k + 1] + static_cast<double>(sigma[k]) * sigma[k];
    }
    validate(std::isfinite(discarded_.front()), "matrix {}, tile {} has singular values that are not finite",
             matrix_->name, t);
  }

  void append_hull(std::int32_t number) {
    const auto t = static_cast<std::size_t>(number);
    sum_energies(t);
    const std::size_t first = steps_.size();
    const auto step_to = [&](index_t rank) {
      const index_t from = steps_.size() > first ? steps_.back().rank : 0;
      const double saved = discarded_[static_cast<std::size_t>(from)] - discarded_[static_cast<std::size_t>(rank)];
      return Step{saved / static_cast<double>(bytes(t, rank) - bytes(t, from)), number,
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
    index_t largest = full - 1;
    while (largest > 0 && bytes(t, largest) >= bytes(t, full)) --largest;
    for (index_t rank = format_.align; rank < largest; rank += format_.align) append(rank);
    if (largest > 0) append(largest);
    append(full);
  }

  const MatrixSpectra* matrix_;
  TileFormat format_;
  std::vector<Step> steps_;
  std::vector<double> discarded_;  // (r + 1) of the tile at work
  index_t dense_bytes_ = 0;
  index_t least_bytes_ = 0;
};

/// Where a matrix stands on its path.
class Walker {
 public:
  explicit Walker(const Path& path) : path_(&path), ranks_(path.matrix().tiles.size(), 0), bytes_(path.least_bytes()) {}

  const Path& path() const { return *path_; }
  bool is_done() const { return position_ == path_->steps().size(); }
  std::size_t position() const { return position_; }
  index_t bytes() const { return bytes_; }
  const std::vector<index_t>& ranks() const { return ranks_; }

  /// Energy per byte of the next step.
  double gain() const { return path_->steps()[position_].gain; }
  /// Bytes spent, of the dense ones.
  double share() const { return static_cast<double>(bytes_) / static_cast<double>(path_->dense_numbers_bytes()); }

  /// Takes the next step, or as many ranks of it as `room` bytes allow; returns whether it fitted as a whole. If not,
  /// the walk is over.
  bool take_step(index_t room) {
    const Step& step = path_->steps()[position_++];
    const auto t = static_cast<std::size_t>(step.tile);
    const index_t before = path_->bytes(t, ranks_[t]);
    index_t rank = step.rank;
    while (rank > ranks_[t] && path_->bytes(t, rank) - before > room) --rank;
    ranks_[t] = rank;
    bytes_ += path_->bytes(t, rank) - before;
    if (rank == step.rank) return true;
    position_ = path_->steps().size();
    return false;
  }

 private:
  const Path* path_;
  std::vector<index_t> ranks_;  // (tiles)
  std::size_t position_ = 0;
  index_t bytes_;
};

/// Says which matrix goes next. Both queues hold values of the past: gains only fall and shares only grow, so what
/// comes out first is either true or to be brought up to date.
class Turns {
 public:
  Turns(const std::vector<Walker>& walkers, double floor) : walkers_(&walkers), floor_(floor) {
    for (std::size_t m = 0; m < walkers.size(); ++m) {
      if (walkers[m].is_done()) continue;
      best_.push(candidate(m));
      if (floor > 0) poorest_.push({walkers[m].share(), m});
    }
  }

  /// The matrix whose step is next when all matrices together have spent `share` of their dense bytes; none if no steps
  /// are left.
  std::optional<std::size_t> next(double share) {
    while (!poorest_.empty() && poorest_.top().share < floor_ * share) {
      const Poor poor = poorest_.top();
      const Walker& walker = (*walkers_)[poor.matrix];
      if (!walker.is_done() && walker.share() == poor.share) return poor.matrix;
      poorest_.pop();
      if (!walker.is_done()) poorest_.push({walker.share(), poor.matrix});
    }
    while (!best_.empty()) {
      const Candidate best = best_.top();
      const Walker& walker = (*walkers_)[best.matrix];
      if (!walker.is_done() && walker.position() == best.position) return best.matrix;
      best_.pop();
      if (!walker.is_done()) best_.push(candidate(best.matrix));
    }
    return std::nullopt;
  }

 private:
  struct Candidate {
    double loss;  ///< weight · gain
    double gain;
    std::size_t matrix;
    std::size_t position;

    bool operator<(const Candidate& other) const {
      if (loss != other.loss) return loss < other.loss;
      return gain != other.gain ? gain < other.gain : matrix > other.matrix;
    }
  };
  struct Poor {
    double share;
    std::size_t matrix;

    bool operator<(const Poor& other) const {
      return share != other.share ? share > other.share : matrix > other.matrix;
    }
  };

  Candidate candidate(std::size_t m) const {
    const Walker& walker = (*walkers_)[m];
    return {walker.path().matrix().weight * walker.gain(), walker.gain(), m, walker.position()};
  }

  const std::vector<Walker>* walkers_;
  double floor_;
  std::priority_queue<Candidate> best_;
  std::priority_queue<Poor> poorest_;
};

using Ranks = std::vector<std::vector<index_t>>;  // of each matrix, tile after tile

class Allocator {
 public:
  Allocator(std::span<const MatrixSpectra> matrices, const AllocationOptions& options) : options_(options) {
    validate(options.floor >= 0 && options.floor <= 1, "a floor of {} is impossible; use a number from 0 to 1",
             options.floor);
    validate(options.ceiling >= 1, "a ceiling of {} is impossible; use a number of at least 1", options.ceiling);
    validate(options.format.align >= 1, "ranks cannot be multiples of {}; use 1 or more", options.format.align);
    for (const MatrixSpectra& matrix : matrices) {
      paths_.emplace_back(matrix, options.format);
      dense_bytes_ += paths_.back().dense_numbers_bytes();
    }
  }

  Allocation allocate(double keep) const {
    check_rank_rule({RankRule::Kind::keep, keep});
    const Ranks ranks = choose(keep);
    Allocation result;
    result.bytes_dense = dense_bytes_;
    for (std::size_t m = 0; m < paths_.size(); ++m) {
      std::vector<TileChoice> choices;
      double discarded = 0;
      for (std::size_t t = 0; t < ranks[m].size(); ++t) {
        const TileSpectrum& tile = paths_[m].tile(t);
        const index_t rank = ranks[m][t];
        const TileKind kind = rank == tile.full_rank() ? TileKind::dense : kind_of(options_.format.storage);
        choices.push_back(make_choice(tile, kind, rank));
        discarded += choices.back().discarded;
        result.bytes += paths_[m].bytes(t, rank);
      }
      result.predicted_loss += paths_[m].matrix().weight * discarded;
      result.choices.push_back(std::move(choices));
    }
    return result;
  }

 private:
  Ranks choose(double keep) const {
    if (options_.mode == AllocationMode::even || keep >= 1) return share_evenly(keep);
    std::vector<Walker> walkers(paths_.begin(), paths_.end());
    if (options_.mode == AllocationMode::uniform) {
      for (Walker& walker : walkers) walk_alone(walker, keep);
    } else {
      walk_together(walkers, keep);
    }
    Ranks ranks;
    for (Walker& walker : walkers) ranks.push_back(walker.ranks());
    return ranks;
  }

  Ranks share_evenly(double keep) const {
    Ranks ranks;
    for (const Path& path : paths_) {
      std::vector<index_t>& of_matrix = ranks.emplace_back();
      for (const TileSpectrum& tile : path.matrix().tiles) of_matrix.push_back(even_rank(tile, keep));
    }
    return ranks;
  }

  index_t even_rank(const TileSpectrum& tile, double keep) const {
    const index_t h = tile.height;
    const index_t w = tile.width;
    const index_t full = tile.full_rank();
    if (keep >= 1) return full;
    const TileKind kind = kind_of(options_.format.storage);
    const double room = keep * static_cast<double>(h * w) + 1e-9;
    index_t k = 0;
    while (k < full && static_cast<double>(u_size(kind, h, w, k + 1) + v_size(kind, w, k + 1)) <= room) ++k;
    k -= k % options_.format.align;
    return smallest_kind(options_.format, h, w, k) == TileKind::dense ? full : k;
  }

  static void walk_alone(Walker& walker, double keep) {
    const index_t budget = budget_of(keep, walker.path().dense_numbers_bytes());
    while (!walker.is_done()) walker.take_step(budget - walker.bytes());
  }

  void walk_together(std::vector<Walker>& walkers, double keep) const {
    const index_t budget = budget_of(keep, dense_bytes_);
    index_t spent = 0;
    std::vector<index_t> limits;
    for (const Walker& walker : walkers) {
      spent += walker.bytes();
      limits.push_back(keep < 1 / options_.ceiling
                           ? budget_of(options_.ceiling * keep, walker.path().dense_numbers_bytes())
                           : std::numeric_limits<index_t>::max());
    }
    Turns turns(walkers, options_.floor);
    while (const auto m = turns.next(static_cast<double>(spent) / static_cast<double>(dense_bytes_))) {
      Walker& walker = walkers[*m];
      const index_t before = walker.bytes();
      const index_t limit = limits[*m] - before;
      const bool is_whole = walker.take_step(std::min(budget - spent, limit));
      const bool is_end = !is_whole && budget - spent <= limit;
      spent += walker.bytes() - before;
      if (is_end) return;
    }
  }

  AllocationOptions options_;
  std::vector<Path> paths_;
  index_t dense_bytes_ = 0;
};

}  // namespace

std::string_view to_string(AllocationMode mode) {
  switch (mode) {
    case AllocationMode::global:
      return "global";
    case AllocationMode::uniform:
      return "uniform";
    case AllocationMode::even:
      return "even";
  }
  return "?";
}

AllocationMode parse_allocation_mode(std::string_view name) {
  for (AllocationMode mode : {AllocationMode::global, AllocationMode::uniform, AllocationMode::even}) {
    if (name == to_string(mode)) return mode;
  }
  fail("unknown allocation '{}' (known: global, uniform, even)", name);
}

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
  return Allocator(matrices, options).allocate(keep);
}

double smallest_keep(double target_loss, std::span<const MatrixSpectra> matrices, const AllocationOptions& options) {
  validate(target_loss >= 0, "a loss of {} cannot be reached; use a number of at least 0", target_loss);
  const Allocator allocator(matrices, options);
  if (allocator.allocate(0).predicted_loss <= target_loss) return 0;
  double too_small = 0;
  double enough = 1;  // all tiles dense: no loss
  while (enough - too_small > 0x1p-20) {
    const double middle = (too_small + enough) / 2;
    (allocator.allocate(middle).predicted_loss <= target_loss ? enough : too_small) = middle;
  }
  return enough;
}

}  // namespace hack::svd
