#pragma once

#include <algorithm>
#include <span>

#include "kernels/error.hpp"
#include "kernels/finite.hpp"
#include "model/llama/chunk.hpp"
#include "model/llama/llama.hpp"

namespace hack::model {

/// Some scored tokens of a window and the final states that predict them.
template <Device D>
struct ScoredTokens {
  MatrixView<const float, D> states;  // (tokens, hidden)
  std::span<const int> targets;       // (tokens)
  index_t window;                     ///< in the plan
  index_t first;                      ///< how many scored tokens of the window came before
};

/// A window of a plan, and its tokens as the model sees them.
struct WindowTask {
  index_t number;
  index_t first_scored;
  std::span<const int> ids;
};

/// Takes a model through a window, chunk after chunk, with an empty cache. before(is_last) is called ahead of each
/// chunk, visit(tokens, seen) behind those with scored tokens; `seen` are the window's ids so far. State t predicts id
/// t + 1, so that the last id is a target alone. All ranks.
template <Device D, class Before, class Visit>
void walk_window(Llama<D>& llama, KvCache<D>& cache, const WindowTask& task, Before before, Visit visit) {
  cache.clear();
  const std::span<const int> ids = task.ids;
  const index_t unscored = task.first_scored - 1;  // states before the first that counts
  const index_t inputs = std::ssize(ids) - 1;
  for (index_t begin = 0; begin < inputs; begin += chunk_tokens) {
    const index_t n = std::min(chunk_tokens, inputs - begin);
    before(begin + n == inputs);
    const MatrixView<const float, D> states = llama.forward(ids.subspan(begin, n), cache);
    const index_t skip = std::clamp<index_t>(unscored - begin, 0, n);
    if (skip == n) continue;
    const auto targets = ids.subspan(begin + skip + 1, n - skip);
    visit(ScoredTokens<D>{states.rows_from(skip, n - skip), targets, task.number, begin + skip - unscored},
          ids.first(begin + n));
  }
}

/// An Error where numbers of the model's last pass overflow or losses are not finite; `seen` are the ids up to then.
/// The same on all ranks.
template <Device D>
void check_losses(Llama<D>& llama, std::span<const float> losses, std::span<const int> seen) {
  if (!llama.stream_is_sound() || !are_finite(losses)) fail("{}", llama.explain_overflow(seen));
}

}  // namespace hack::model
