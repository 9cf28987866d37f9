#pragma once

#include <span>

#include "kernels/affine.hpp"
#include "kernels/loss_parts.hpp"

namespace hack::kernels {

/// Partial losses of hidden (tokens, hidden_size) against head (vocabulary of this rank, hidden_size), whose row 0 is
/// token first_id; targets (tokens) are ids of the whole vocabulary. Works in blocks: no (tokens, vocabulary) matrix.
/// Bits do not depend on the number of threads, of a dense head nor on how many tokens are given at once.
template <Device D>
void partial_losses(Queue<D>& queue, MatrixView<const float, D> hidden, const AffineView<D>& head, index_t first_id,
                    std::span<const int> targets, std::span<PartialLoss> out);

}  // namespace hack::kernels
