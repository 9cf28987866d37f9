#pragma once

#include <functional>
#include <span>
#include <vector>

#include "comm/process_grid.hpp"
#include "model/evaluate/perplexity_protocol.hpp"
#include "model/evaluate/window_walk.hpp"
#include "model/llama/llama.hpp"

namespace hack::model {

/// Losses of the scored tokens of each window, or whatever else is kept of them.
using WindowLosses = std::vector<std::vector<float>>;

/// Hears of each window that is done, in the order in which windows finish. `window` counts in the plan. May shorten
/// what is kept of it.
using OnWindow = std::function<void(index_t window, std::vector<float>& kept)>;

/// How windows are run. All count on world rank 0 alone.
struct WindowRun {
  /// What need not be computed, one entry a window, empty ones of those to compute.
  WindowLosses known = {};
  OnWindow on_window = [](index_t, std::vector<float>&) {};
  /// Hears afterwards how many windows each copy of the model has done.
  std::function<void(std::span<const index_t> of_copies)> on_progress = [](std::span<const index_t>) {};
};

/// Appends to `kept` what is kept of some tokens. All ranks of one copy of the model call it together; what the copy's
/// first rank keeps counts.
template <Device D>
using ScoreTokens = std::function<void(Llama<D>& llama, const ScoredTokens<D>& tokens, std::vector<float>& kept)>;

/// Keeps one number of each token: its loss.
template <Device D>
void keep_losses(Llama<D>& llama, const ScoredTokens<D>& tokens, std::vector<float>& kept);

/// What `score` keeps of the scored tokens of every window, in window order, on world rank 0 (empty elsewhere).
/// Collective.
///
/// Windows are dealt to the data-parallel copies as these get free; what is kept of a window depends neither on the
/// other windows nor on who computes it, so the result is the same in every bit for every number of copies.
template <Device D>
WindowLosses score_windows(Llama<D>& llama, const comm::ProcessGrid& grid, std::span<const int> ids,
                           const WindowPlan& plan, WindowRun run, const ScoreTokens<D>& score);

/// The same of losses.
template <Device D>
WindowLosses window_losses(Llama<D>& llama, const comm::ProcessGrid& grid, std::span<const int> ids,
                           const WindowPlan& plan, WindowRun run = {}) {
  return score_windows<D>(llama, grid, ids, plan, std::move(run), keep_losses<D>);
}

}  // namespace hack::model
