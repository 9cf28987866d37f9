#include "kernels/vocabulary.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/gemm.hpp"
#include "kernels/cpu/row_math.hpp"
#include "kernels/cpu/scratch.hpp"

namespace hack::kernels {

namespace {

// Of one task; the logits of a task stay in L2. Vocabulary blocks are fixed: they decide the order of the sums.
constexpr index_t token_block = 256;
constexpr index_t vocabulary_block = 2 * gemm_panel;

thread_local Scratch logit_panel;  // (token_block, vocabulary_block)
thread_local Scratch part_panel;   // of the thread that calls: (tokens, blocks, 2) maximum and sum of exps

/// Maxima and sums of exps of the logits that one block of the vocabulary gives one block of tokens, and the logits of
/// the targets in it; parts of a token are `stride` apart, of which this block's is the first.
void score_block(MatrixView<const float> hidden, WeightView<> head, index_t first_id, std::span<const int> targets,
                 float* parts, index_t stride, std::span<PartialLoss> out) {
  const MatrixView<float> logits{logit_panel.get(token_block * vocabulary_block), hidden.rows, head.rows};
  multiply_transposed(hidden, head, logits, Write::replace);
  for (index_t t = 0; t < hidden.rows; ++t) {
    const index_t target = targets[t] - first_id;
    if (target >= 0 && target < head.rows) out[t].target_logit = logits(t, target);
    float* part = parts + t * stride;
    part[0] = maximum(logits.row(t), head.rows);
    part[1] = exp_and_sum(logits.row(t), head.rows, 1, part[0]);
  }
}

/// Joins the blocks of one token, in their order.
void merge_blocks(const float* parts, index_t blocks, PartialLoss& loss) {
  for (index_t b = 0; b < blocks; ++b) loss.maximum = std::max(loss.maximum, parts[2 * b]);
  double sum = 0;
  for (index_t b = 0; b < blocks; ++b) sum += parts[2 * b + 1] * std::exp(double{parts[2 * b]} - loss.maximum);
  loss.sum = static_cast<float>(sum);
}

}  // namespace

template <>
void partial_losses<Device::cpu>(Queue<Device::cpu>& queue, MatrixView<const float> hidden, WeightView<> head,
                                 index_t first_id, std::span<const int> targets, std::span<PartialLoss> out) {
  HACK_EXPECT(hidden.cols == head.cols);
  HACK_EXPECT(std::ssize(targets) == hidden.rows && std::ssize(out) == hidden.rows);
  const index_t blocks = (head.rows + vocabulary_block - 1) / vocabulary_block;
  const index_t tasks = blocks * ((hidden.rows + token_block - 1) / token_block);
  float* parts = part_panel.get(hidden.rows * blocks * 2);
  std::fill(out.begin(), out.end(), PartialLoss{-std::numeric_limits<float>::infinity(), 0, 0});
#pragma omp parallel num_threads(queue.threads())
  {
#pragma omp for schedule(dynamic)
    for (index_t task = 0; task < tasks; ++task) {
      const index_t b = task % blocks;
      const index_t token = task / blocks * token_block;
      const index_t tokens = std::min(token_block, hidden.rows - token);
      const index_t rows = std::min(vocabulary_block, head.rows - b * vocabulary_block);
      score_block(hidden.rows_from(token, tokens), head.rows_from(b * vocabulary_block, rows),
                  first_id + b * vocabulary_block, targets.subspan(token, tokens), parts + (token * blocks + b) * 2,
                  blocks * 2, out.subspan(token, tokens));
    }
#pragma omp for schedule(static)
    for (index_t t = 0; t < hidden.rows; ++t) merge_blocks(parts + t * blocks * 2, blocks, out[t]);
  }
}

}  // namespace hack::kernels
