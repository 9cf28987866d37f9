#pragma once

#include <vector>

#include "comm/communicator.hpp"
#include "kernels/back_propagation.hpp"
#include "kernels/divergence.hpp"

namespace hack::model {

/// KL(reference ‖ model) of next-token distributions and its gradient in the model's final states, over a vocabulary
/// whose rows are cut over the ranks of `tensor`. Logits are in memory for a chunk of tokens at a time:
///
///     reference states ─ head ─ l ┐                          ┌ Σ over the ranks, divergence
///     model's states ─── head ─ m ┴ log Σ exp over the ranks ┴ (q - p) ─ head ─ Σ over the ranks, gradient
template <Device D>
class HeadGradient {
 public:
  static constexpr index_t chunk = 128;  ///< tokens

  /// `head` (own vocabulary, hidden) in f32 makes the model's logits. All references outlive this.
  HeadGradient(const comm::Communicator& tensor, Queue<D>& queue, MatrixView<const float, D> head, DType rounded)
      : tensor_(tensor), queue_(queue), head_(head), rounded_(rounded) {}

  /// Returns the sum of the divergences after all tokens; states (tokens, hidden). Where `gradient` (tokens, hidden)
  /// has rows it becomes the gradient in the states of factor times that sum. The same on every rank.
  double run(const kernels::FinalStates<D>& reference, MatrixView<const float, D> states, float factor,
             MatrixView<float, D> gradient);

 private:
  using Logits = MatrixView<float, D>;

  Logits room(Buffer<float, D>& buffer, index_t tokens);
  /// log Σ exp over the whole vocabulary of both, (2, tokens) in memory of D.
  void find_log_sums(Logits reference, Logits logits);

  const comm::Communicator& tensor_;
  Queue<D>& queue_;
  MatrixView<const float, D> head_;
  DType rounded_;
  Buffer<float, D> reference_, logits_;  // (chunk, own vocabulary)
  Buffer<float, D> parts_;               // (4, chunk) maxima and sums of reference and model
  Buffer<float, D> log_sums_;            // (2, chunk)
  Buffer<float, D> divergences_;         // (chunk)
};

}  // namespace hack::model
