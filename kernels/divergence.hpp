#pragma once

#include <span>

#include "kernels/divergence_parts.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

/// Joins two slices.
PartialDivergence join(const PartialDivergence& a, const PartialDivergence& b);

/// Returns the Kullback-Leibler divergence Σ_i p_i log(p_i / q_i), in nats, p = softmax(l), q = softmax(m), of what all
/// slices joined say. Rounding may leave it a little below 0.
double divergence(const PartialDivergence& whole);

/// Partial divergences of the next-token distributions that final states give,
///
///     out[v, t]   of head reference[t] and head states[v * tokens + t]
///
/// reference (tokens, hidden), states (variants * tokens, hidden), head (vocabulary of this rank, hidden), out
/// (variants * tokens). Works in blocks: no (tokens, vocabulary) matrix; logits of the reference are computed once for
/// all variants. Bits do not depend on the number of threads.
template <Device D>
void partial_divergences(Queue<D>& queue, MatrixView<const float, D> reference, MatrixView<const float, D> states,
                         WeightView<D> head, std::span<PartialDivergence> out);

/// The divergences themselves where this rank has the whole vocabulary; out (variants * tokens).
template <Device D>
void divergences(Queue<D>& queue, MatrixView<const float, D> reference, MatrixView<const float, D> states,
                 WeightView<D> head, std::span<double> out);

}  // namespace hack::kernels
