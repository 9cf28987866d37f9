#pragma once

#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

/// What one rank knows of softmax cross-entropy over its slice of the vocabulary, per token. Over all ranks:
/// m = max maxima, s = Σ sums · exp(maxima - m), loss = m + log s - Σ target_logits.
struct PartialLoss {
  float maximum;       ///< largest logit of the slice; -infinity for an empty slice
  float sum;           ///< Σ exp(logit - maximum) over the slice
  float target_logit;  ///< the target's logit if it lies in the slice, else 0
};

/// Partial losses of hidden (tokens, hidden_size) against head (vocabulary of this rank, hidden_size), whose row 0 is
/// token first_id; targets (tokens) are ids of the whole vocabulary. Works in blocks: no (tokens, vocabulary) matrix.
/// Bits do not depend on the number of threads nor on how many tokens are given at once.
template <Device D>
void partial_losses(Queue<D>& queue, MatrixView<const float, D> hidden, WeightView<D> head, index_t first_id,
                    std::span<const int> targets, std::span<PartialLoss> out);

}  // namespace hack::kernels
