#pragma once

#include <cstdint>

#include "kernels/decode_state.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

/// How a token is chosen from logits.
struct SamplingRule {
  double temperature = 0;         ///< 0: the likeliest token
  double top_p = 1;               ///< keep the likeliest tokens that together hold this much probability
  double repetition_penalty = 1;  ///< logits of tokens already seen are divided (if > 0) or multiplied (if < 0) by it
  index_t top_k = 0;              ///< draw from so many of the likeliest tokens; 0: from all. On CPUs alone
  double min_p = 0;  ///< leave out tokens less probable than this share of the likeliest one's. On CPUs alone
};

/// Chooses a token, all on the device. With logits l, of which those of seen tokens have paid the penalty, tokens in
/// the order of l, largest first and of equal ones the lowest id, and weights w = exp((l - max l) / temperature):
///
///     temperature 0   the first
///     else            of the first top_k, the shortest run whose Σ w reaches top_p Σ_k w, of it those with w >= min_p
///                     (of the first one w is 1); among them the token in whose share of [0, Σ w) draw · Σ w lies
///
/// logits (1, vocabulary) are changed; seen (vocabulary) has 1 for each token seen so far. Reads state->draw; writes
/// state->id, marks it as seen and counts state->position one up; `seen` and `state` are in memory of D. Sums are in
/// double; devices add in different orders, so their choices can differ where a sum is within some 1e-15 of its goal.
template <Device D>
void choose_token(Queue<D>& queue, const SamplingRule& rule, MatrixView<float, D> logits, std::uint8_t* seen,
                  DecodeState* state);

}  // namespace hack::kernels
