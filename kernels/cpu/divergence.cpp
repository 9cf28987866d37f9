#include "kernels/divergence.hpp"

#include <algorithm>
#include <cmath>
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

/// What one block of the vocabulary says of one token: softmax in two numbers, and of a state the block's
/// Σ exp(l_i - maximum of l) (l_i - m_i), l the reference's logits, m the state's.
struct Part {
  float maximum;
  float sum;
  double gap;
};

double log_sum(const Part* parts, index_t blocks, float maximum) {
  double sum = 0;
  for (index_t b = 0; b < blocks; ++b) sum += parts[b].sum * std::exp(static_cast<double>(parts[b].maximum) - maximum);
  return std::log(sum) + maximum;
}

float largest(const Part* parts, index_t blocks) {
  float out = parts[0].maximum;
  for (index_t b = 1; b < blocks; ++b) out = std::max(out, parts[b].maximum);
  return out;
}

/// Σ p (l - m) - log Σ exp l + log Σ exp m, from the parts of all blocks.
double divergence(const Part* reference, const Part* state, index_t blocks) {
  const double reference_sum = log_sum(reference, blocks, largest(reference, blocks));
  double gap = 0;
  for (index_t b = 0; b < blocks; ++b) gap += state[b].gap * std::exp(reference[b].maximum - reference_sum);
  return gap - reference_sum + log_sum(state, blocks, largest(state, blocks));
}

/// One block of the vocabulary for one block of tokens of the reference and of all variants; parts of a token lie
/// `stride` apart.
void score_block(X reference, X states, index_t variants, index_t tokens, index_t first, WeightView<> head,
                 Part* reference_parts, Part* state_parts, index_t stride) {
  const index_t count = reference.rows;
  const MatrixView<float> l(reference_panel.get(token_block * vocabulary_block), count, head.rows);
  const MatrixView<float> m(state_panel.get(token_block * vocabulary_block), count, head.rows);
  float* gap = gap_panel.get(vocabulary_block * token_block);
  multiply_transposed(reference, head, l, Write::replace);
  std::copy_n(l.data, count * head.rows, gap);  // the logits, which the exponentials replace
  for (index_t t = 0; t < count; ++t) {
    Part& part = reference_parts[t * stride];
    part.maximum = maximum(l.row(t), head.rows);
    part.sum = exp_and_sum(l.row(t), head.rows, 1, part.maximum);
  }
  for (index_t v = 0; v < variants; ++v) {
    multiply_transposed(states.rows_from(v * tokens + first, count), head, m, Write::replace);
    for (index_t t = 0; t < count; ++t) {
      Part& part = state_parts[(v * tokens + t) * stride];
      const float* weights = l.row(t);
      const float* logits = gap + t * head.rows;
      double sum = 0;
      for (index_t i = 0; i < head.rows; ++i) sum += static_cast<double>(weights[i] * (logits[i] - m(t, i)));
      part.gap = sum;
      part.maximum = maximum(m.row(t), head.rows);
      part.sum = exp_and_sum(m.row(t), head.rows, 1, part.maximum);
    }
  }
}

}  // namespace

template <>
void divergences<Device::cpu>(Queue<Device::cpu>& queue, X reference, X states, WeightView<> head,
                              std::span<double> out) {
  const index_t tokens = reference.rows;
  if (tokens == 0 || states.rows == 0) return;
  const index_t variants = states.rows / tokens;
  HACK_EXPECT(states.rows == variants * tokens && std::ssize(out) == states.rows);
  const index_t blocks = (head.rows + vocabulary_block - 1) / vocabulary_block;
  std::vector<Part> reference_parts(static_cast<std::size_t>(tokens * blocks));
  std::vector<Part> state_parts(static_cast<std::size_t>(states.rows * blocks));
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(queue.threads())
  for (index_t first = 0; first < tokens; first += token_block) {
    for (index_t b = 0; b < blocks; ++b) {
      const index_t rows = std::min(vocabulary_block, head.rows - b * vocabulary_block);
      score_block(reference.rows_from(first, std::min(token_block, tokens - first)), states, variants, tokens, first,
                  head.rows_from(b * vocabulary_block, rows), reference_parts.data() + first * blocks + b,
                  state_parts.data() + first * blocks + b, blocks);
    }
  }
  for (index_t s = 0; s < states.rows; ++s) {
    out[static_cast<std::size_t>(s)] =
        divergence(reference_parts.data() + s % tokens * blocks, state_parts.data() + s * blocks, blocks);
  }
}

}  // namespace hack::kernels
