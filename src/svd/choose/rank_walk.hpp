#pragma once

#include <optional>
#include <queue>
#include <vector>

#include "svd/choose/rank_path.hpp"

namespace hack::svd {

/// A greedy walk of all matrices along their paths, as far as a budget goes: the algorithm of `allocate`, modes global
/// and uniform. Paths are convex, so the greedy order is optimal at every step (Fox 1966; Shoham and Gersho 1988). The
/// next step does not depend on the budget (except for a ceiling), so a walk to a larger budget may go on from a copy
/// of the walk to a smaller budget.
class RankWalk {
 public:
  /// Starts with rank 0 everywhere; `paths` outlive this.
  RankWalk(const std::vector<RankPath>& paths, const AllocationOptions& options);

  /// Takes all steps up to the first one that does not fit the budget.
  void go_to(double keep);

  /// Spends what `go_to` left on single ranks, and ends the walk.
  void spend_rest(double keep);

  /// Rank of tile t of the m-th matrix.
  index_t rank(std::size_t m, std::size_t t) const { return walkers_[m].rank(t); }

  /// Σ weight · discarded energy
  double loss() const;

 private:
  /// The position of a matrix on its path.
  class Walker {
   public:
    explicit Walker(const RankPath& path);

    const RankPath& path() const { return *path_; }
    index_t rank(std::size_t t) const { return ranks_[t]; }
    index_t bytes() const { return bytes_; }
    /// Bytes spent, as a share of the dense bytes.
    double share() const { return static_cast<double>(bytes_) / static_cast<double>(path_->all_dense_bytes()); }
    double discarded() const;

    bool is_done() const { return position_ == path_->steps().size(); }
    /// The number of steps taken; energy per byte and bytes of the next step.
    std::size_t position() const { return position_; }
    double gain() const { return path_->steps()[position_].gain; }
    index_t step_bytes() const { return step_bytes_; }

    void take_step();
    /// Takes as many single ranks of the next step as `bytes_left` allow, and ends the walk.
    void end_with_ranks(index_t bytes_left);

   private:
    void look_ahead();

    const RankPath* path_;
    std::vector<index_t> ranks_;  // (tiles)
    std::size_t position_ = 0;
    index_t bytes_;
    index_t step_bytes_ = 0;
  };

  /// A matrix and its next step; a larger loss per byte comes first, then a larger gain, then the lower number.
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
  /// A matrix and its share of its dense bytes; the smallest share comes first.
  struct Poor {
    double share;
    std::size_t matrix;

    bool operator<(const Poor& other) const {
      return share != other.share ? share > other.share : matrix > other.matrix;
    }
  };

  Candidate candidate(std::size_t m) const;
  index_t limit_of(const Walker& walker, double keep) const;
  std::optional<std::size_t> next();

  AllocationOptions options_;
  std::vector<Walker> walkers_;
  std::priority_queue<Candidate> best_;
  std::priority_queue<Poor> poorest_;
  index_t dense_bytes_ = 0;
  index_t spent_ = 0;
};

}  // namespace hack::svd
