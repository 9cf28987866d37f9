#include "kernels/cpu/llama/logit_blocks.hpp"

#include <algorithm>

#include "kernels/cpu/linear/gemm.hpp"

namespace hack::kernels {

index_t LogitBlocks::tokens_at_once(const AffineView<Device::cpu>& head, index_t tokens) {
  if (!head.is_factored() || tokens == 0) return std::max<index_t>(tokens, 1);
  return std::clamp<index_t>((index_t{16} << 20) / std::max<index_t>(head.rows(), 1), 1, tokens);
}

LogitBlocks::LogitBlocks(Queue<Device::cpu>& queue, MatrixView<const float> states, const AffineView<Device::cpu>& head)
    : states_(states), dense_(head.dense), vocabulary_(head.rows()) {
  HACK_EXPECT(states.cols == head.cols() && head.bias == nullptr);
  if (!head.is_factored()) return;
  whole_ = Buffer<float>(states.rows * vocabulary_);
  affine(queue, states, head, MatrixView<float>(whole_.data(), states.rows, vocabulary_));
}

MatrixView<float> LogitBlocks::block(index_t token, index_t tokens, index_t id, index_t ids, Scratch& panel) const {
  if (whole_.size() > 0) {
    return MatrixView<float>(whole_.data(), states_.rows, vocabulary_).block(token, id, tokens, ids);
  }
  const MatrixView<float> logits(panel.get(tokens * ids), tokens, ids);
  multiply_transposed(states_.rows_from(token, tokens), dense_.rows_from(id, ids), logits, Write::replace);
  return logits;
}

}  // namespace hack::kernels
