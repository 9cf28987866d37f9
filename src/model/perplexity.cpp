#include "model/perplexity.hpp"

#include <algorithm>

#include "comm/collectives.hpp"

namespace hack::model {
namespace {

/// Tokens that go through the layers at once: enough for matrix products at full speed, and activations stay small.
constexpr index_t chunk_tokens = 512;

/// Losses of one window, computed on one copy of the model.
template <Device D>
std::vector<float> one_window(Llama<D>& llama, KvCache<D>& cache, std::span<const int> ids, index_t first_scored) {
  std::vector<float> losses;
  cache.clear();
  // The last token is only a target.
  const index_t inputs = std::ssize(ids) - 1;
  for (index_t begin = 0; begin < inputs; begin += chunk_tokens) {
    const index_t n = std::min(chunk_tokens, inputs - begin);
    const MatrixView<const float, D> states = llama.forward(ids.subspan(begin, n), cache);
    // State t predicts token t + 1, so the first state that counts is first_scored - 1.
    const index_t skip = std::clamp<index_t>(first_scored - 1 - begin, 0, n);
    if (skip == n) continue;
    const std::vector<float> part =
        llama.losses(states.rows_from(skip, n - skip), ids.subspan(begin + skip + 1, n - skip));
    losses.insert(losses.end(), part.begin(), part.end());
  }
  return losses;
}

}  // namespace

template <Device D>
std::vector<std::vector<float>> window_losses(Llama<D>& llama, const comm::ProcessGrid& grid, std::span<const int> ids,
                                              const WindowPlan& plan, std::optional<int> first_token,
                                              const std::function<void(index_t, index_t)>& progress) {
  const index_t windows = std::ssize(plan.windows);
  const int copies = grid.data().size();
  const int copy = grid.data().rank();
  KvCache<D> cache = llama.make_cache(std::min(plan.context, std::ssize(ids)));
  std::vector<float> mine;
  std::vector<int> tokens;
  for (index_t w = copy; w < windows; w += copies) {
    const Window& window = plan.windows[w];
    tokens.assign(ids.begin() + window.begin, ids.begin() + window.end);
    if (first_token) tokens.front() = *first_token;
    const std::vector<float> losses = one_window(llama, cache, std::span<const int>(tokens), window.first_scored);
    mine.insert(mine.end(), losses.begin(), losses.end());
    progress(w / copies + 1, (windows - copy + copies - 1) / copies);
  }

  // The ranks of one copy agree; those of tensor rank 0 hand their losses to world rank 0, copy after copy.
  std::vector<std::vector<float>> losses;
  if (!grid.tensor().is_root()) return losses;
  const std::vector<float> all = comm::gather<float>(grid.data(), mine);
  if (!grid.data().is_root()) return losses;
  losses.resize(windows);
  auto next = all.begin();
  for (int c = 0; c < copies; ++c) {
    for (index_t w = c; w < windows; w += copies) {
      losses[w].assign(next, next + plan.windows[w].scored());
      next += plan.windows[w].scored();
    }
  }
  return losses;
}

#define HACK_INSTANTIATE(D)                                                                                         \
  template std::vector<std::vector<float>> window_losses(Llama<D>&, const comm::ProcessGrid&, std::span<const int>, \
                                                         const WindowPlan&, std::optional<int>,                     \
                                                         const std::function<void(index_t, index_t)>&);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)

}  // namespace hack::model
