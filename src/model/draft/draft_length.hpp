#pragma once

#include <optional>

#include "kernels/dtype.hpp"

namespace hack::model {

/// What one pass of a draft and its model did, and the seconds that it took.
struct DraftPass {
  index_t proposed = 0;      ///< tokens of the draft; 0: the model alone
  index_t accepted = 0;      ///< of these, the first ones that the model chose too
  double draft_seconds = 0;  ///< until the last of them was proposed
  double model_seconds = 0;  ///< of proposed + 1 tokens at once
};

/// Costs and acceptance as measured so far.
struct DraftCosts {
  double acceptance = 0;       ///< probability that the model chooses a proposed token too
  double draft_seconds = 0;    ///< a proposed token
  double model_seconds = 0;    ///< a token of the model alone
  double further_seconds = 0;  ///< what each proposed token adds to the model's pass

  /// Tokens that a pass is expected to give: the accepted ones and the model's own,
  ///
  ///     (1 - a^(g+1)) / (1 - a)
  double tokens(index_t proposed) const;
  /// The expected tokens by the seconds of a pass, m + g (d + e), of g proposed tokens: m model, d draft, e further.
  double tokens_per_second(index_t proposed) const;
};

/// Chooses how many tokens a draft proposes before the model's next pass: the number for which the costs so far expect
/// most tokens a second, 0 where the model alone is faster (Leviathan, Kalman and Matias 2023, "Fast inference from
/// transformers via speculative decoding", section 3.5). Some passes go without a draft, and some with one that does
/// not pay, so that both costs stay known.
class DraftLength {
 public:
  /// Products of up to eight tokens read weights once, and a token's numbers do not depend on how many stand beside it:
  /// seven proposed and the one before them.
  static constexpr index_t largest = 7;

  /// fixed: that many, 1 to `largest`, in every pass but those that time the model alone; else the best number.
  explicit DraftLength(std::optional<index_t> fixed);

  /// Tokens that the next pass is to propose; 0: the model alone.
  index_t next() const;
  /// Takes what a pass did and took into account.
  void record(const DraftPass& pass);

  DraftCosts costs() const;
  /// The number that pays most by the costs so far; 0: none.
  index_t best() const;

 private:
  /// Means with older passes forgotten bit by bit: acceptance and costs change along a text.
  struct Mean {
    double sum = 0, weight = 0;
    void add(double value, double by);
    double value() const { return weight > 0 ? sum / weight : 0; }
  };

  std::optional<index_t> fixed_;
  index_t passes_ = 0;
  index_t since_plain_ = 0;    // passes since the last one of the model alone
  index_t since_drafted_ = 0;  // and since the last one with a draft
  Mean accepted_, draft_, model_, further_;
};

}  // namespace hack::model
