#include "svd/choose/rank_walk.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hack::svd {
namespace {

/// Bytes that may be spent; a keep of 0.3 may be 0.299…9 in double.
index_t budget_of(double keep, index_t dense) {
  return static_cast<index_t>(std::floor(keep * static_cast<double>(dense) + 1e-6));
}

/// Σ σ² of the singular values that a tile of this rank leaves out, from the smallest value up.
double discarded_energy(const TileSpectrum& tile, index_t rank) {
  double sum = 0;
  for (index_t k = tile.full_rank(); k-- > rank;) {
    const double sigma = tile.sigma[static_cast<std::size_t>(k)];
    sum += sigma * sigma;
  }
  return sum;
}

}  // namespace

RankWalk::Walker::Walker(const RankPath& path)
    : path_(&path), ranks_(path.matrix().tiles.size(), 0), bytes_(path.least_bytes()) {
  look_ahead();
}

double RankWalk::Walker::discarded() const {
  double sum = 0;
  for (std::size_t t = 0; t < ranks_.size(); ++t) sum += discarded_energy(path_->tile(t), ranks_[t]);
  return sum;
}

void RankWalk::Walker::take_step() {
  const RankPath::Step& step = path_->steps()[position_++];
  ranks_[static_cast<std::size_t>(step.tile)] = step.rank;
  bytes_ += step_bytes_;
  look_ahead();
}

void RankWalk::Walker::end_with_ranks(index_t bytes_left) {
  const RankPath::Step& step = path_->steps()[position_];
  const auto t = static_cast<std::size_t>(step.tile);
  const index_t before = path_->bytes(t, ranks_[t]);
  index_t rank = step.rank;
  while (rank > ranks_[t] && path_->bytes(t, rank) - before > bytes_left) rank = path_->smaller_rank(t, rank);
  ranks_[t] = rank;
  bytes_ += path_->bytes(t, rank) - before;
  position_ = path_->steps().size();
}

void RankWalk::Walker::look_ahead() {
  if (is_done()) return;
  const RankPath::Step& step = path_->steps()[position_];
  const auto t = static_cast<std::size_t>(step.tile);
  step_bytes_ = path_->bytes(t, step.rank) - path_->bytes(t, ranks_[t]);
}

RankWalk::RankWalk(const std::vector<RankPath>& paths, const AllocationOptions& options)
    : options_(options), walkers_(paths.begin(), paths.end()) {
  for (std::size_t m = 0; m < walkers_.size(); ++m) {
    dense_bytes_ += walkers_[m].path().all_dense_bytes();
    spent_ += walkers_[m].bytes();
    if (walkers_[m].is_done()) continue;
    best_.push(candidate(m));
    if (options.floor > 0) poorest_.push({walkers_[m].share(), m});
  }
}

void RankWalk::go_to(double keep) {
  if (options_.mode == AllocationMode::uniform) {
    for (Walker& walker : walkers_) {
      const index_t budget = budget_of(keep, walker.path().all_dense_bytes());
      while (!walker.is_done() && walker.bytes() + walker.step_bytes() <= budget) walker.take_step();
    }
    return;
  }
  // Invariant: the steps taken are the same whatever the budget; the first step that does not fit ends the walk even
  // where a later, smaller one would fit, so that the result for a larger budget always continues this one. A matrix at
  // its ceiling is no end: it spends its last bytes on single ranks and leaves the rest to the others.
  const index_t budget = budget_of(keep, dense_bytes_);
  while (const auto m = next()) {
    Walker& walker = walkers_[*m];
    const index_t before = walker.bytes();
    const index_t limit = limit_of(walker, keep);
    if (before + walker.step_bytes() > limit) {
      walker.end_with_ranks(std::min(limit - before, budget - spent_));
    } else if (spent_ + walker.step_bytes() <= budget) {
      walker.take_step();
    } else {
      return;
    }
    spent_ += walker.bytes() - before;
  }
}

void RankWalk::spend_rest(double keep) {
  if (options_.mode == AllocationMode::uniform) {
    for (Walker& walker : walkers_) {
      const index_t budget = budget_of(keep, walker.path().all_dense_bytes());
      if (!walker.is_done()) walker.end_with_ranks(budget - walker.bytes());
    }
  } else if (const auto m = next()) {
    walkers_[*m].end_with_ranks(budget_of(keep, dense_bytes_) - spent_);
  }
}

double RankWalk::loss() const {
  double loss = 0;
  for (const Walker& walker : walkers_) loss += walker.path().matrix().weight * walker.discarded();
  return loss;
}

RankWalk::Candidate RankWalk::candidate(std::size_t m) const {
  const Walker& walker = walkers_[m];
  return {walker.path().matrix().weight * walker.gain(), walker.gain(), m, walker.position()};
}

index_t RankWalk::limit_of(const Walker& walker, double keep) const {
  return keep < 1 / options_.ceiling ? budget_of(options_.ceiling * keep, walker.path().all_dense_bytes())
                                     : std::numeric_limits<index_t>::max();
}

/// The matrix whose step is next; none if no steps are left. Both queues are lazy, they hold values of the past: gains
/// only fall and shares only grow, so the first entry is either still right, and then the best of all, or is taken out
/// and put back with its present value. Matrices below the floor come before all others.
std::optional<std::size_t> RankWalk::next() {
  const double floor = options_.floor * (static_cast<double>(spent_) / static_cast<double>(dense_bytes_));
  while (!poorest_.empty() && poorest_.top().share < floor) {
    const Poor poor = poorest_.top();
    const Walker& walker = walkers_[poor.matrix];
    if (!walker.is_done() && walker.share() == poor.share) return poor.matrix;
    poorest_.pop();
    if (!walker.is_done()) poorest_.push({walker.share(), poor.matrix});
  }
  while (!best_.empty()) {
    const Candidate best = best_.top();
    const Walker& walker = walkers_[best.matrix];
    if (!walker.is_done() && walker.position() == best.position) return best.matrix;
    best_.pop();
    if (!walker.is_done()) best_.push(candidate(best.matrix));
  }
  return std::nullopt;
}

}  // namespace hack::svd
