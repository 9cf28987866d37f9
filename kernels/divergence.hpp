#pragma once

#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

/// Kullback-Leibler divergences, in nats, between the next-token distributions that two final states give,
///
///     out[v, t] = Σ_i p_i log(p_i / q_i),   p = softmax(head reference[t]), q = softmax(head states[v * tokens + t])
///
/// reference (tokens, hidden), states (variants * tokens, hidden), head (vocabulary, hidden), out (variants * tokens).
/// Works in blocks: no (tokens, vocabulary) matrix; logits of the reference are computed once for all variants.
/// Rounding may leave values a little below 0. Bits do not depend on the number of threads.
template <Device D>
void divergences(Queue<D>& queue, MatrixView<const float, D> reference, MatrixView<const float, D> states,
                 WeightView<D> head, std::span<double> out);

}  // namespace hack::kernels
