#pragma once

#include <functional>
#include <span>
#include <vector>

#include "model/evaluate/divergence_summary.hpp"
#include "model/evaluate/perplexity_protocol.hpp"
#include "model/llama/llama.hpp"

namespace hack::model {

/// What a model says of the scored tokens of some windows.
struct ComparedModel {
  std::vector<std::vector<float>> losses;  ///< of each window, in nats
  double seconds = 0;                      ///< that all windows took on this rank, comparing left out
  DivergenceSummary divergence = {};       ///< from the reference; zeros for the reference itself

  Perplexity perplexity(const WindowPlan& plan) const { return score(plan, losses); }
};

/// Compares models with a reference on the windows of a text, one model in memory at a time: of the reference only its
/// final states are kept, (scored tokens, hidden) numbers in the host memory of every rank.
///
///     reference ─ states ─┬─ losses
///     model ───── states ─┴─ losses, divergences
///
/// All ranks share one copy of each model and get the same results.
template <Device D>
class ModelComparison {
 public:
  using Progress = std::function<void(index_t done, index_t all)>;

  /// Runs the reference, whose losses are known from then on. Collective.
  ModelComparison(Llama<D>& reference, std::vector<int> ids, WindowPlan plan, const Progress& progress);

  const WindowPlan& plan() const { return plan_; }
  const ComparedModel& reference() const { return reference_; }

  /// Runs what became of the reference when it was compressed on the same windows. Where that has a head of factors,
  /// the reference's own is read from `reference` again. Collective.
  ComparedModel compare(Llama<D>& model, const WeightSource& reference, const Progress& progress) const;

 private:
  std::vector<int> ids_;
  WindowPlan plan_;
  std::vector<float> states_;  // (scored tokens, hidden) of the reference
  ComparedModel reference_;
};

}  // namespace hack::model
