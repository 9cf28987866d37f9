#pragma once

#include "kernels/affine.hpp"
#include "kernels/buffer.hpp"
#include "kernels/cpu/memory/scratch.hpp"

namespace hack::kernels {

/// Logits (tokens, vocabulary) of some states, block by block. Those of a dense head are multiplied when a block is
/// asked for, by the thread that asks. A block of the vocabulary cuts through tiles, so those of a factored head are
/// multiplied before, all of them.
class LogitBlocks {
 public:
  /// Of how many tokens logits may be in memory at once: all where they are multiplied block by block, else as many as
  /// 64 MiB hold, of each LogitBlocks.
  static index_t tokens_at_once(const AffineView<Device::cpu>& head, index_t tokens);

  /// What both view outlives this; states (tokens, hidden).
  LogitBlocks(Queue<Device::cpu>& queue, MatrixView<const float> states, const AffineView<Device::cpu>& head);

  /// Logits of `tokens` states from `token` on for `ids` ids from `id` on, for the calling thread to write over; valid
  /// until `panel` is used again.
  MatrixView<float> block(index_t token, index_t tokens, index_t id, index_t ids, Scratch& panel) const;

 private:
  MatrixView<const float> states_;
  WeightView<> dense_;
  index_t vocabulary_;
  mutable Buffer<float> whole_;  // (tokens, vocabulary) of a factored head
};

}  // namespace hack::kernels
