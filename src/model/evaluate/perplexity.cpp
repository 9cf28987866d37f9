#include "model/evaluate/perplexity.hpp"

#include <algorithm>
#include <cstring>
#include <deque>

#include "comm/collectives.hpp"
#include "comm/task_dealer.hpp"
#include "model/llama/chunk.hpp"

namespace hack::model {
namespace {

/// Tells the ranks of one copy which window is next; nothing after the last.
class WindowSource {
 public:
  /// `dealer`: of the copy's first rank; null on the others.
  WindowSource(const comm::Communicator& tensor, comm::TaskDealer* dealer) : tensor_(tensor), dealer_(dealer) {}

  std::optional<index_t> next() {
    index_t window = -1;
    if (dealer_ != nullptr) window = dealer_->next().value_or(-1);
    comm::broadcast(tensor_, std::as_writable_bytes(std::span(&window, 1)));
    return window < 0 ? std::nullopt : std::optional(window);
  }
  /// Before each chunk of a window.
  void before_chunk(bool is_last) {
    if (dealer_ == nullptr) return;
    dealer_->serve();
    if (is_last) dealer_->ask();
  }

 private:
  const comm::Communicator& tensor_;
  comm::TaskDealer* dealer_;
};

/// Losses of one window, computed on one copy of the model.
template <Device D>
std::vector<float> one_window(Llama<D>& llama, KvCache<D>& cache, std::span<const int> ids, index_t first_scored,
                              WindowSource& source) {
  std::vector<float> losses;
  cache.clear();
  // The last token is only a target.
  const index_t inputs = std::ssize(ids) - 1;
  for (index_t begin = 0; begin < inputs; begin += chunk_tokens) {
    const index_t n = std::min(chunk_tokens, inputs - begin);
    source.before_chunk(begin + n == inputs);
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

std::vector<std::byte> bytes_of(std::span<const float> losses) {
  const auto bytes = std::as_bytes(losses);
  return {bytes.begin(), bytes.end()};
}

std::vector<float> losses_of(std::span<const std::byte> bytes) {
  std::vector<float> losses(bytes.size() / sizeof(float));
  if (!bytes.empty()) std::memcpy(losses.data(), bytes.data(), bytes.size());
  return losses;
}

}  // namespace

template <Device D>
WindowLosses window_losses(Llama<D>& llama, const comm::ProcessGrid& grid, std::span<const int> ids,
                           const WindowPlan& plan, WindowRun run) {
  const bool is_root = grid.tensor().is_root() && grid.data().is_root();
  WindowLosses losses = is_root ? std::move(run.known) : WindowLosses{};
  std::deque<index_t> missing;
  if (is_root) {
    losses.resize(plan.windows.size());
    for (index_t w = 0; w < std::ssize(losses); ++w) {
      if (losses[w].empty()) missing.push_back(w);
    }
  }
  std::optional<comm::TaskDealer> dealer;
  if (grid.tensor().is_root()) {
    dealer.emplace(grid.data(), std::move(missing), [&](index_t window, std::span<const std::byte> result) {
      losses[window] = losses_of(result);
      run.on_window(window, losses[window]);
    });
  }
  WindowSource source(grid.tensor(), dealer ? &*dealer : nullptr);
  KvCache<D> cache = llama.make_cache(std::min(plan.context, std::ssize(ids)));
  std::vector<int> tokens;
  while (const std::optional<index_t> number = source.next()) {
    const Window& window = plan.windows[*number];
    tokens.assign(ids.begin() + window.begin, ids.begin() + window.end);
    if (run.first_token) tokens.front() = *run.first_token;
    const std::vector<float> mine = one_window(llama, cache, std::span<const int>(tokens), window.first_scored, source);
    if (dealer) dealer->deliver(*number, bytes_of(mine));
  }
  if (dealer) dealer->finish();
  return losses;
}

#define HACK_INSTANTIATE(D)                                                                                         \
  template WindowLosses window_losses(Llama<D>&, const comm::ProcessGrid&, std::span<const int>, const WindowPlan&, \
                                      WindowRun);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::model
