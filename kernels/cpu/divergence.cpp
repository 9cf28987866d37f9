#include "kernels/divergence.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/gemm.hpp"
#include "kernels/cpu/row_math.hpp"
#include "kernels/cpu/scratch.hpp"

namespace hack::kernels {
namespace {

using X = MatrixView<const float>;

constexpr index_t token_block = 64;
constexpr index_t vocabulary_block = 2 * gemm_panel;

thread_local Scratch reference_panel;  // (token_block, vocabulary_block) logits l, then exp(l - maximum)
thread_local Scratch state_panel;      // (token_block, vocabulary_block)
thread_local Scratch gap_panel;        // (vocabulary_block) of one token

/// One block of the vocabulary for one block of tokens, the first of them `first`, of the reference and of all
/// variants; parts of a state lie `stride` apart.
void score_block(X reference, X states, index_t variants, index_t tokens, index_t first, WeightView<> head,
                 PartialDivergence* parts, index_t stride) {
  const index_t count = reference.rows;
  const MatrixView<float> l(reference_panel.get(token_block * vocabulary_block), count, head.rows);
  const MatrixView<float> m(state_panel.get(token_block * vocabulary_block), count, head.rows);
  float* gap = gap_panel.get(vocabulary_block * token_block);
  multiply_transposed(reference, head, l, Write::replace);
  std::copy_n(l.data, count * head.rows, gap);  // the logits, which the exponentials replace
  float maxima[token_block];
  double sums[token_block];
  for (index_t t = 0; t < count; ++t) {
    maxima[t] = maximum(l.row(t), head.rows);
    sums[t] = exp_and_sum(l.row(t), head.rows, 1, maxima[t]);
  }
  for (index_t v = 0; v < variants; ++v) {
    multiply_transposed(states.rows_from(v * tokens + first, count), head, m, Write::replace);
    for (index_t t = 0; t < count; ++t) {
      const float* weights = l.row(t);
      const float* logits = gap + t * head.rows;
      double sum = 0;
      for (index_t i = 0; i < head.rows; ++i) sum += static_cast<double>(weights[i] * (logits[i] - m(t, i)));
      const float largest = maximum(m.row(t), head.rows);
      parts[(v * tokens + first + t) * stride] = {maxima[t], largest, sums[t],
                                                  exp_and_sum(m.row(t), head.rows, 1, largest), sum};
    }
  }
}

constexpr PartialDivergence nothing = {-std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                                       0, 0, 0};

}  // namespace

PartialDivergence join(const PartialDivergence& a, const PartialDivergence& b) {
  const auto factor = [](float maximum, float joint) {
    return std::isinf(maximum) ? 0.0 : std::exp(static_cast<double>(maximum) - joint);
  };
  const float reference = std::max(a.reference_maximum, b.reference_maximum);
  const float state = std::max(a.maximum, b.maximum);
  const double of_a = factor(a.reference_maximum, reference);
  const double of_b = factor(b.reference_maximum, reference);
  return {reference, state, a.reference_sum * of_a + b.reference_sum * of_b,
          a.sum * factor(a.maximum, state) + b.sum * factor(b.maximum, state), a.gap * of_a + b.gap * of_b};
}

double divergence(const PartialDivergence& whole) {
  return whole.gap / whole.reference_sum - std::log(whole.reference_sum) - whole.reference_maximum +
         std::log(whole.sum) + whole.maximum;
}

template <>
void partial_divergences<Device::cpu>(Queue<Device::cpu>& queue, X reference, X states, WeightView<> head,
                                      std::span<PartialDivergence> out) {
  const index_t tokens = reference.rows;
  std::fill(out.begin(), out.end(), nothing);
  if (tokens == 0 || states.rows == 0) return;
  const index_t variants = states.rows / tokens;
  HACK_EXPECT(states.rows == variants * tokens && std::ssize(out) == states.rows);
  const index_t blocks = (head.rows + vocabulary_block - 1) / vocabulary_block;
  std::vector<PartialDivergence> parts(static_cast<std::size_t>(states.rows * blocks));
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(queue.threads())
  for (index_t first = 0; first < tokens; first += token_block) {
    for (index_t b = 0; b < blocks; ++b) {
      const index_t rows = std::min(vocabulary_block, head.rows - b * vocabulary_block);
      score_block(reference.rows_from(first, std::min(token_block, tokens - first)), states, variants, tokens, first,
                  head.rows_from(b * vocabulary_block, rows), parts.data() + b, blocks);
    }
  }
  for (index_t s = 0; s < states.rows; ++s) {
    PartialDivergence& whole = out[static_cast<std::size_t>(s)];
    for (index_t b = 0; b < blocks; ++b) whole = join(whole, parts[static_cast<std::size_t>(s * blocks + b)]);
  }
}

template <>
void divergences<Device::cpu>(Queue<Device::cpu>& queue, X reference, X states, WeightView<> head,
                              std::span<double> out) {
  std::vector<PartialDivergence> parts(out.size());
  partial_divergences(queue, reference, states, head, std::span(parts));
  std::transform(parts.begin(), parts.end(), out.begin(), divergence);
}

}  // namespace hack::kernels
