#include "kernels/vocabulary.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/cuda/memory/resources.hpp"
#include "kernels/cuda/llama/vocabulary.cuh"
#include "kernels/divergence.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using X = MatrixView<const float, D>;

/// Tokens whose logits are in memory at once: 64 MiB of them.
index_t tokens_at_once(index_t vocabulary) {
  return std::clamp<index_t>((index_t{16} << 20) / std::max<index_t>(vocabulary, 1), 1, cuda::TokenIds::most);
}

/// Logits (tokens, vocabulary) of some states.
MatrixView<float, D> logits_of(Queue<D>& queue, X states, const AffineView<D>& head, cuda::Workspace purpose) {
  const index_t vocabulary = head.rows();
  HACK_EXPECT(states.cols == head.cols());
  const MatrixView<float, D> logits(queue.resources().workspace<float>(purpose, states.rows * vocabulary), states.rows,
                                    vocabulary);
  affine<D>(queue, states, head, logits);
  return logits;
}

}  // namespace

template <>
void partial_losses<D>(Queue<D>& queue, X hidden, const AffineView<D>& head, index_t first_id,
                       std::span<const int> targets, std::span<PartialLoss> out) {
  HACK_EXPECT(std::ssize(targets) == hidden.rows && std::ssize(out) == hidden.rows);
  std::fill(out.begin(), out.end(), PartialLoss{-std::numeric_limits<float>::infinity(), 0, 0});
  if (head.rows() == 0) return;
  auto* parts = queue.resources().workspace<PartialLoss>(cuda::Workspace::results, hidden.rows);
  const index_t step = tokens_at_once(head.rows());
  for (index_t first = 0; first < hidden.rows; first += step) {
    const index_t n = std::min(step, hidden.rows - first);
    const X logits = logits_of(queue, hidden.rows_from(first, n), head, cuda::Workspace::logits);
    cuda::TokenIds ids{};
    std::copy_n(targets.data() + first, n, ids.ids);
    cuda::launch(queue, cuda::LossOfLogits{cuda::array_of(logits), ids, first_id, parts + first});
  }
  cuda::download(queue, out.data(), parts, out.size_bytes());
}

template <>
void partial_divergences<D>(Queue<D>& queue, const FinalStates<D>& reference, const FinalStates<D>& model,
                            std::span<PartialDivergence> out) {
  const index_t tokens = reference.states.rows;
  std::fill(out.begin(), out.end(), PartialDivergence{});
  if (tokens == 0 || model.states.rows == 0 || reference.head.rows() == 0) return;
  const index_t variants = model.states.rows / tokens;
  HACK_EXPECT(model.states.rows == variants * tokens && std::ssize(out) == model.states.rows);
  HACK_EXPECT(model.head.rows() == reference.head.rows());
  auto* parts = queue.resources().workspace<PartialDivergence>(cuda::Workspace::results, model.states.rows);
  const index_t step = tokens_at_once(reference.head.rows());
  for (index_t first = 0; first < tokens; first += step) {
    const index_t n = std::min(step, tokens - first);
    const X expected = logits_of(queue, reference.states.rows_from(first, n), reference.head, cuda::Workspace::logits);
    for (index_t v = 0; v < variants; ++v) {
      const index_t at = v * tokens + first;
      const X logits = logits_of(queue, model.states.rows_from(at, n), model.head, cuda::Workspace::more_logits);
      cuda::launch(queue, cuda::DivergenceOfLogits{cuda::array_of(expected), cuda::array_of(logits), parts + at});
    }
  }
  cuda::download(queue, out.data(), parts, out.size_bytes());
}

template <>
void divergences<D>(Queue<D>& queue, const FinalStates<D>& reference, const FinalStates<D>& model,
                    std::span<double> out) {
  std::vector<PartialDivergence> parts(out.size());
  partial_divergences(queue, reference, model, std::span(parts));
  std::transform(parts.begin(), parts.end(), out.begin(), divergence);
}

}  // namespace hack::kernels
