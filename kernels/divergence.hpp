#pragma once

#include <span>

#include "kernels/affine.hpp"
#include "kernels/divergence_parts.hpp"

namespace hack::kernels {

/// Final states of a model and the head that makes logits of them.
template <Device D>
struct FinalStates {
  MatrixView<const float, D> states;  // (tokens, hidden)
  AffineView<D> head;                 // (vocabulary of this rank, hidden)
};

/// Joins two slices.
PartialDivergence join(const PartialDivergence& a, const PartialDivergence& b);

/// Returns the Kullback-Leibler divergence Σ_i p_i log(p_i / q_i), in nats, p = softmax(l), q = softmax(m), of what all
/// slices joined say. Rounding may leave it a little below 0.
double divergence(const PartialDivergence& whole);

/// Whether the reference's most likely token is the model's too.
bool has_same_top(const PartialDivergence& whole);

/// Partial divergences of the next-token distributions that final states give,
///
///     out[v, t]   of reference.head reference.states[t] and model.head model.states[v * tokens + t]
///
/// States are (tokens, hidden) of the reference and (variants * tokens, hidden) of the model, out (variants * tokens).
/// Works in blocks: no (tokens, vocabulary) matrix; logits of the reference are computed once for all variants. Bits do
/// not depend on the number of threads.
template <Device D>
void partial_divergences(Queue<D>& queue, const FinalStates<D>& reference, const FinalStates<D>& model,
                         std::span<PartialDivergence> out);

/// The divergences themselves where this rank has the whole vocabulary; out (variants * tokens).
template <Device D>
void divergences(Queue<D>& queue, const FinalStates<D>& reference, const FinalStates<D>& model, std::span<double> out);

}  // namespace hack::kernels
