#pragma once

#include <span>

#include "kernels/loss_parts.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

/// Partial losses of hidden (tokens, hidden_size) against head (vocabulary of this rank, hidden_size), whose row 0 is
/// token first_id; targets (tokens) are ids of the whole vocabulary. Works in blocks: no (tokens, vocabulary) matrix.
/// Bits do not depend on the number of threads nor on how many tokens are given at once.
template <Device D>
void partial_losses(Queue<D>& queue, MatrixView<const float, D> hidden, WeightView<D> head, index_t first_id,
                    std::span<const int> targets, std::span<PartialLoss> out);

}  // namespace hack::kernels
