#pragma once

#include <span>

#include "kernels/decode_state.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

/// x = 0.
template <Device D>
void clear(Queue<D>& queue, MatrixView<float, D> x);

/// y += x, the residual connection; both (tokens, n).
template <Device D>
void add(Queue<D>& queue, MatrixView<const float, D> x, MatrixView<float, D> y);

/// y = x / sqrt(mean(x²) + epsilon) * weight, row by row; x and y (tokens, n), weight (n). y may be x.
template <Device D>
void rms_norm(Queue<D>& queue, MatrixView<const float, D> x, const float* weight, float epsilon,
              MatrixView<float, D> y);

/// x += y, the residual connection, and normed = rms_norm(x), in one go; all (tokens, n), weight (n).
template <Device D>
void add_and_norm(Queue<D>& queue, MatrixView<const float, D> y, MatrixView<float, D> x, const float* weight,
                  float epsilon, MatrixView<float, D> normed);

/// gate = silu(gate) * up with silu(a) = a / (1 + exp(-a)); both (tokens, n).
template <Device D>
void swiglu(Queue<D>& queue, MatrixView<const float, D> up, MatrixView<float, D> gate);

/// Rotates each head of x (tokens, heads * head_dim) by its position, Hugging Face's half-split form: with
/// a = (position + t) * inverse_frequencies[i], dimension i and i + head_dim/2 turn by the angle a.
/// inverse_frequencies (head_dim / 2). Angles are computed in f32 as transformers does.
template <Device D>
void rope(Queue<D>& queue, index_t head_dim, Position<D> position, const float* inverse_frequencies,
          MatrixView<float, D> x);

/// out[t] = table[ids[t] - first_id], zero where that row is not in this rank's shard; ids (tokens) on the host,
/// table (vocabulary of this rank, hidden), out (tokens, hidden).
template <Device D>
void embed(Queue<D>& queue, std::span<const int> ids, WeightView<D> table, index_t first_id, MatrixView<float, D> out);

/// The same for the one token state->id; `state` in memory of D, out (1, hidden).
template <Device D>
void embed(Queue<D>& queue, const DecodeState* state, WeightView<D> table, index_t first_id, MatrixView<float, D> out);

}  // namespace hack::kernels
