#include "model/evaluate/model_comparison.hpp"

#include "kernels/stopwatch.hpp"
#include "model/evaluate/window_walk.hpp"
#include "model/llama/names.hpp"

namespace hack::model {
namespace {

/// Takes a model through all windows. visit(states, first) sees the states before scored tokens, `first` the number of
/// the first of them. Returns losses and seconds.
template <Device D, class Visit>
ComparedModel run_windows(Llama<D>& model, std::span<const int> ids, const WindowPlan& plan,
                          const std::function<void(index_t, index_t)>& progress, Visit visit) {
  ComparedModel out;
  KvCache<D> cache = model.make_cache(plan.context);
  index_t scored = 0;
  for (const Window& window : plan.windows) {
    std::vector<float>& of_window = out.losses.emplace_back();
    const std::vector<int> tokens = plan.tokens_of(window, ids);
    Stopwatch watch;  // of the passes, not of the visits
    const auto keep = [&](const ScoredTokens<D>& chunk, std::span<const int> seen) {
      const std::vector<float> losses = model.losses(chunk.states, chunk.targets);
      out.seconds += watch.seconds();
      check_losses(model, losses, seen);
      of_window.insert(of_window.end(), losses.begin(), losses.end());
      visit(chunk.states, scored);
      scored += chunk.states.rows;
      watch.restart();
    };
    walk_window(
        model, cache, {std::ssize(out.losses) - 1, window.first_scored, tokens}, [](bool) {}, keep);
    progress(std::ssize(out.losses), std::ssize(plan.windows));
  }
  return out;
}

template <Device D>
std::size_t bytes_of(MatrixView<const float, D> states) {
  return static_cast<std::size_t>(states.rows * states.cols) * sizeof(float);
}

index_t count_scored(const WindowPlan& plan) {
  index_t scored = 0;
  for (const Window& window : plan.windows) scored += window.scored();
  return scored;
}

}  // namespace

template <Device D>
ModelComparison<D>::ModelComparison(Llama<D>& reference, std::vector<int> ids, WindowPlan plan,
                                    const Progress& progress)
    : ids_(std::move(ids)),
      plan_(std::move(plan)),
      states_(static_cast<std::size_t>(count_scored(plan_) * reference.config().hidden_size)),
      reference_(run_windows(reference, ids_, plan_, progress, [&](MatrixView<const float, D> states, index_t first) {
        kernels::copy_to_host<D>(states_.data() + first * states.cols, states.data, bytes_of(states));
      })) {}

template <Device D>
ComparedModel ModelComparison<D>::compare(Llama<D>& model, const WeightSource& reference,
                                          const Progress& progress) const {
  TokenDivergences tokens;
  WeightMatrix<D> dense;
  kernels::AffineView<D> head = model.head();
  if (model.has_compressed_head()) {
    const svd::Range hidden = {0, model.config().hidden_size};
    dense = read_weights<D>(reference.checkpoint, head_weights(model.config()), model.plan().vocabulary, hidden,
                            reference.type);
    head = {dense.view()};
  }
  const auto compare_states = [&](MatrixView<const float, D> states, index_t first) {
    Buffer<float, D> expected(states.rows * states.cols);
    kernels::copy_from_host<D>(expected.data(), states_.data() + first * states.cols, bytes_of(states));
    const kernels::FinalStates<D> wanted{{expected.data(), states.rows, states.cols}, head};
    for (const kernels::PartialDivergence& whole : model.divergences(wanted, states)) tokens.add(whole);
  };
  ComparedModel result = run_windows(model, ids_, plan_, progress, compare_states);
  result.divergence = tokens.summary(reference_.losses, result.losses);
  return result;
}

template class ModelComparison<Device::cpu>;
template class ModelComparison<Device::cuda>;

}  // namespace hack::model
