#include "model/evaluate/perplexity.hpp"

#include <algorithm>
#include <cstring>
#include <deque>

#include "comm/collectives.hpp"
#include "comm/task_dealer.hpp"

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

/// What is kept of one window, computed on one copy of the model.
template <Device D>
std::vector<float> one_window(Llama<D>& llama, KvCache<D>& cache, const WindowTask& task, const ScoreTokens<D>& score,
                              WindowSource& source) {
  std::vector<float> kept;
  const auto keep = [&](const ScoredTokens<D>& tokens, std::span<const int> seen) {
    const std::size_t known = kept.size();
    score(llama, tokens, kept);
    std::span<const float> losses = std::span(kept).subspan(known);
    if (losses.size() != tokens.targets.size()) losses = {};  // there is more, in forms that are no numbers
    check_losses(llama, losses, seen);
  };
  walk_window(
      llama, cache, task, [&](bool is_last) { source.before_chunk(is_last); }, keep);
  return kept;
}

std::vector<std::byte> bytes_of(std::span<const float> numbers) {
  const auto bytes = std::as_bytes(numbers);
  return {bytes.begin(), bytes.end()};
}

std::vector<float> numbers_of(std::span<const std::byte> bytes) {
  std::vector<float> numbers(bytes.size() / sizeof(float));
  if (!bytes.empty()) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

}  // namespace

template <Device D>
void keep_losses(Llama<D>& llama, const ScoredTokens<D>& tokens, std::vector<float>& kept) {
  const std::vector<float> losses = llama.losses(tokens.states, tokens.targets);
  kept.insert(kept.end(), losses.begin(), losses.end());
}

template <Device D>
WindowLosses score_windows(Llama<D>& llama, const comm::ProcessGrid& grid, std::span<const int> ids,
                           const WindowPlan& plan, WindowRun run, const ScoreTokens<D>& score) {
  const bool is_root = grid.tensor().is_root() && grid.data().is_root();
  WindowLosses kept = is_root ? std::move(run.known) : WindowLosses{};
  std::deque<index_t> missing;
  if (is_root) {
    kept.resize(plan.windows.size());
    for (index_t w = 0; w < std::ssize(kept); ++w) {
      if (kept[w].empty()) missing.push_back(w);
    }
  }
  std::optional<comm::TaskDealer> dealer;
  if (grid.tensor().is_root()) {
    dealer.emplace(grid.data(), std::move(missing), [&](index_t window, std::span<const std::byte> result) {
      std::vector<float> numbers = numbers_of(result);
      run.on_window(window, numbers);
      kept[window] = std::move(numbers);
      run.on_progress(dealer->results_of_ranks());
    });
  }
  WindowSource source(grid.tensor(), dealer ? &*dealer : nullptr);
  KvCache<D> cache = llama.make_cache(std::min(plan.context, std::ssize(ids)));
  while (const std::optional<index_t> number = source.next()) {
    const Window& window = plan.windows[*number];
    const std::vector<int> tokens = plan.tokens_of(window, ids);
    const std::vector<float> mine = one_window(llama, cache, {*number, window.first_scored, tokens}, score, source);
    if (dealer) dealer->deliver(*number, bytes_of(mine));
  }
  if (dealer) dealer->finish();
  return kept;
}

#define HACK_INSTANTIATE(D)                                                                                         \
  template void keep_losses(Llama<D>&, const ScoredTokens<D>&, std::vector<float>&);                                \
  template WindowLosses score_windows(Llama<D>&, const comm::ProcessGrid&, std::span<const int>, const WindowPlan&, \
                                      WindowRun, const ScoreTokens<D>&);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::model
