#include "kernels/vocabulary.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/linear/gemm.hpp"
#include "kernels/cpu/llama/logit_blocks.hpp"
#include "kernels/cpu/linear/row_math.hpp"

namespace hack::kernels {

namespace {

// Of one task; a dense head's logits of a task stay in L2. Vocabulary blocks are fixed: they decide the order of the
// sums.
constexpr index_t token_block = 256;
constexpr index_t vocabulary_block = 2 * gemm_panel;

thread_local Scratch logit_panel;  // (token_block, vocabulary_block)
thread_local Scratch part_panel;   // of the thread that calls: (tokens, blocks, 2) maximum and sum of exps

/// Maxima and sums of exps of the logits that one block of the vocabulary gives one block of tokens, and the logits of
/// the targets in it; parts of a token are `stride` apart, of which this block's is the first.
void score_block(MatrixView<float> logits, index_t first_id, std::span<const int> targets, float* parts, index_t stride,
                 std::span<PartialLoss> out) {
  for (index_t t = 0; t < logits.rows; ++t) {
    const index_t target = targets[t] - first_id;
    if (target >= 0 && target < logits.cols) out[t].target_logit = logits(t, target);
    float* part = parts + t * stride;
    part[0] = maximum(logits.row(t), logits.cols);
    part[1] = exp_and_sum(logits.row(t), logits.cols, 1, part[0]);
  }
}

/// Joins the blocks of one token, in their order.
void merge_blocks(const float* parts, index_t blocks, PartialLoss& loss) {
  for (index_t b = 0; b < blocks; ++b) loss.maximum = std::max(loss.maximum, parts[2 * b]);
  double sum = 0;
  for (index_t b = 0; b < blocks; ++b) sum += parts[2 * b + 1] * std::exp(double{parts[2 * b]} - loss.maximum);
  loss.sum = static_cast<float>(sum);
}

/// Of tokens whose logits may all be in memory.
void score_tokens(Queue<Device::cpu>& queue, MatrixView<const float> hidden, const AffineView<Device::cpu>& head,
                  index_t first_id, std::span<const int> targets, std::span<PartialLoss> out) {
  const LogitBlocks logits(queue, hidden, head);
  const index_t blocks = (head.rows() + vocabulary_block - 1) / vocabulary_block;
  const index_t tasks = blocks * ((hidden.rows + token_block - 1) / token_block);
  float* parts = part_panel.get(hidden.rows * blocks * 2);
#pragma omp parallel num_threads(queue.threads())
  {
#pragma omp for schedule(dynamic)
    for (index_t task = 0; task < tasks; ++task) {
      const index_t b = task % blocks, id = b * vocabulary_block;
      const index_t token = task / blocks * token_block;
      const index_t tokens = std::min(token_block, hidden.rows - token);
      const index_t ids = std::min(vocabulary_block, head.rows() - id);
      score_block(logits.block(token, tokens, id, ids, logit_panel), first_id + id, targets.subspan(token, tokens),
                  parts + (token * blocks + b) * 2, blocks * 2, out.subspan(token, tokens));
    }
#pragma omp for schedule(static)
    for (index_t t = 0; t < hidden.rows; ++t) merge_blocks(parts + t * blocks * 2, blocks, out[t]);
  }
}

}  // namespace

template <>
void partial_losses<Device::cpu>(Queue<Device::cpu>& queue, MatrixView<const float> hidden,
                                 const AffineView<Device::cpu>& head, index_t first_id, std::span<const int> targets,
                                 std::span<PartialLoss> out) {
  HACK_EXPECT(std::ssize(targets) == hidden.rows && std::ssize(out) == hidden.rows);
  std::fill(out.begin(), out.end(), PartialLoss{-std::numeric_limits<float>::infinity(), 0, 0});
  const index_t step = LogitBlocks::tokens_at_once(head, hidden.rows);
  for (index_t token = 0; token < hidden.rows; token += step) {
    const index_t tokens = std::min(step, hidden.rows - token);
    score_tokens(queue, hidden.rows_from(token, tokens), head, first_id, targets.subspan(token, tokens),
                 out.subspan(token, tokens));
  }
}

}  // namespace hack::kernels
