#pragma once

#include "comm/communicator.hpp"
#include "kernels/buffer.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"
#include "model/calibration/token_windows.hpp"
#include "model/checkpoint/checkpoint.hpp"

namespace hack::model {

/// The residual stream of some windows between two layers. Windows are dealt to the ranks in turn: rank p of P holds
/// those with numbers p, p + P, … In memory of D.
template <Device D>
class ActivationStream {
 public:
  /// No windows.
  ActivationStream() = default;
  /// The embedded tokens of this rank's windows. Reads the embedding table, keeps nothing of it.
  ActivationStream(const Checkpoint& checkpoint, DType type, Queue<D>& queue, const TokenWindows& windows,
                   const comm::Communicator& comm);

  ActivationStream copy(Queue<D>& queue) const;

  /// How many windows this rank holds.
  index_t count() const { return count_; }
  index_t context() const { return context_; }
  index_t hidden() const { return hidden_; }
  MatrixView<float, D> window(index_t w) { return {x_.data() + w * context_ * hidden_, context_, hidden_}; }
  /// All windows, one after the other.
  MatrixView<float, D> tokens() { return {x_.data(), count_ * context_, hidden_}; }
  MatrixView<const float, D> tokens() const { return {x_.data(), count_ * context_, hidden_}; }

 private:
  index_t count_ = 0;
  index_t context_ = 0;
  index_t hidden_ = 0;
  Buffer<float, D> x_;  // (count, context, hidden)
};

}  // namespace hack::model
