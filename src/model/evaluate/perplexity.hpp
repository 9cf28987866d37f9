#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "comm/process_grid.hpp"
#include "model/llama/llama.hpp"
#include "model/evaluate/perplexity_protocol.hpp"

namespace hack::model {

/// Losses of the scored tokens of each window.
using WindowLosses = std::vector<std::vector<float>>;

/// Hears of each window whose losses are there, in the order in which windows finish. `window` counts in the plan.
using OnWindow = std::function<void(index_t window, std::span<const float> losses)>;

/// How windows are run.
struct WindowRun {
  std::optional<int> first_token;  ///< takes the place of each window's first token (BosRule::each_window)
  /// Losses that need not be computed, one entry a window, empty ones of those to compute. It and on_window count on
  /// world rank 0 alone.
  WindowLosses known = {};
  OnWindow on_window = [](index_t, std::span<const float>) {};
};

/// Losses of the scored tokens of every window, in window order, on world rank 0 (empty elsewhere). Collective.
///
/// Windows are dealt to the data-parallel copies as these get free; a window's losses depend neither on the other
/// windows nor on who computes them, so the result is the same in every bit for every number of copies.
template <Device D>
WindowLosses window_losses(Llama<D>& llama, const comm::ProcessGrid& grid, std::span<const int> ids,
                           const WindowPlan& plan, WindowRun run = {});

}  // namespace hack::model
