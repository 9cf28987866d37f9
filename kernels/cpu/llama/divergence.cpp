#include "kernels/divergence.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/linear/gemm.hpp"
#include "kernels/cpu/llama/logit_blocks.hpp"
#include "kernels/cpu/linear/row_math.hpp"

namespace hack::kernels {
namespace {

constexpr Device D = Device::cpu;

constexpr index_t token_block = 64;
constexpr index_t vocabulary_block = 2 * gemm_panel;

thread_local Scratch reference_panel;  // (token_block, vocabulary_block) logits l, then exp(l - maximum)
thread_local Scratch state_panel;      // (token_block, vocabulary_block)
thread_local Scratch gap_panel;        // (token_block, vocabulary_block) the logits l, which exponentials replace

/// One block of the vocabulary for one block of tokens.
struct Block {
  index_t token, tokens, id, ids;
};

/// The largest m_i of those i where l_i is l's maximum.
float largest_at(const float* l, float maximum, const float* m, index_t n) {
  float largest = -std::numeric_limits<float>::infinity();
  for (index_t i = 0; i < n; ++i) largest = l[i] == maximum ? std::max(largest, m[i]) : largest;
  return largest;
}

/// Of the reference and of all variants; parts of a state lie `stride` apart, those of variants `variant_stride`.
void score_block(const LogitBlocks& reference, const std::vector<LogitBlocks>& variants, const Block& at,
                 PartialDivergence* parts, index_t stride, index_t variant_stride) {
  const MatrixView<float> l = reference.block(at.token, at.tokens, at.id, at.ids, reference_panel);
  const MatrixView<float> gap(gap_panel.get(token_block * vocabulary_block), at.tokens, at.ids);
  float maxima[token_block];
  double sums[token_block];
  for (index_t t = 0; t < at.tokens; ++t) {
    std::copy_n(l.row(t), at.ids, gap.row(t));
    maxima[t] = maximum(l.row(t), at.ids);
    sums[t] = exp_and_sum(l.row(t), at.ids, 1, maxima[t]);
  }
  for (const LogitBlocks& variant : variants) {
    const MatrixView<float> m = variant.block(at.token, at.tokens, at.id, at.ids, state_panel);
    for (index_t t = 0; t < at.tokens; ++t) {
      const float at_top = largest_at(gap.row(t), maxima[t], m.row(t), at.ids);
      double sum = 0;
      for (index_t i = 0; i < at.ids; ++i) sum += static_cast<double>(l(t, i) * (gap(t, i) - m(t, i)));
      const float largest = maximum(m.row(t), at.ids);
      parts[(at.token + t) * stride] = {maxima[t], largest, at_top, sums[t], exp_and_sum(m.row(t), at.ids, 1, largest),
                                        sum};
    }
    parts += variant_stride;
  }
}

}  // namespace

PartialDivergence join(const PartialDivergence& a, const PartialDivergence& b) {
  const auto factor = [](float maximum, float joint) {
    return std::isinf(maximum) ? 0.0 : std::exp(static_cast<double>(maximum) - joint);
  };
  const float reference = std::max(a.reference_maximum, b.reference_maximum);
  const float state = std::max(a.maximum, b.maximum);
  const double of_a = factor(a.reference_maximum, reference);
  const double of_b = factor(b.reference_maximum, reference);
  const float at_top = std::max(a.reference_maximum == reference ? a.at_top : b.at_top,
                                b.reference_maximum == reference ? b.at_top : a.at_top);
  return {reference,
          state,
          at_top,
          a.reference_sum * of_a + b.reference_sum * of_b,
          a.sum * factor(a.maximum, state) + b.sum * factor(b.maximum, state),
          a.gap * of_a + b.gap * of_b};
}

double divergence(const PartialDivergence& whole) {
  return whole.gap / whole.reference_sum - std::log(whole.reference_sum) - whole.reference_maximum +
         std::log(whole.sum) + whole.maximum;
}

bool has_same_top(const PartialDivergence& whole) { return whole.at_top >= whole.maximum; }

template <>
void partial_divergences<D>(Queue<D>& queue, const FinalStates<D>& reference, const FinalStates<D>& model,
                            std::span<PartialDivergence> out) {
  const index_t tokens = reference.states.rows, vocabulary = reference.head.rows();
  std::fill(out.begin(), out.end(), PartialDivergence{});
  if (tokens == 0 || model.states.rows == 0) return;
  const index_t variants = model.states.rows / tokens;
  HACK_EXPECT(model.states.rows == variants * tokens && std::ssize(out) == model.states.rows);
  HACK_EXPECT(model.head.rows() == vocabulary);
  const index_t blocks = (vocabulary + vocabulary_block - 1) / vocabulary_block;
  std::vector<PartialDivergence> parts(out.size() * static_cast<std::size_t>(blocks));
  const index_t step =
      std::min(LogitBlocks::tokens_at_once(reference.head, tokens), LogitBlocks::tokens_at_once(model.head, tokens));
  for (index_t begin = 0; begin < tokens; begin += step) {
    const index_t count = std::min(step, tokens - begin);
    const LogitBlocks expected(queue, reference.states.rows_from(begin, count), reference.head);
    std::vector<LogitBlocks> logits;
    for (index_t v = 0; v < variants; ++v) {
      logits.emplace_back(queue, model.states.rows_from(v * tokens + begin, count), model.head);
    }
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(queue.threads())
    for (index_t token = 0; token < count; token += token_block) {
      for (index_t b = 0; b < blocks; ++b) {
        const index_t id = b * vocabulary_block;
        const Block at{token, std::min(token_block, count - token), id, std::min(vocabulary_block, vocabulary - id)};
        score_block(expected, logits, at, parts.data() + begin * blocks + b, blocks, tokens * blocks);
      }
    }
  }
  for (std::size_t s = 0; s < out.size(); ++s) {
    const PartialDivergence* of_state = parts.data() + static_cast<index_t>(s) * blocks;
    for (index_t b = 0; b < blocks; ++b) out[s] = join(out[s], of_state[b]);
  }
}

template <>
void divergences<D>(Queue<D>& queue, const FinalStates<D>& reference, const FinalStates<D>& model,
                    std::span<double> out) {
  std::vector<PartialDivergence> parts(out.size());
  partial_divergences(queue, reference, model, std::span(parts));
  std::transform(parts.begin(), parts.end(), out.begin(), divergence);
}

}  // namespace hack::kernels
