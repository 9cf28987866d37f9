#pragma once

#include <span>

#include "kernels/attention.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

// Gradients of the operations of a Llama that hold no weights of matrices. Names follow the loss: d… is its gradient in
// …. What stands in gradient.hpp is not repeated here; the gradient of a rotation is the rotation by the negative angle
// (rope() with negative frequencies).

/// Adds to dx the gradient in x of y = x r * weight, r = 1 / sqrt(mean(x²) + epsilon), row by row:
///
///     dx += r (weight * dy) - x r³ / n · Σ_j weight_j dy_j x_j
///
/// All (tokens, n), weight (n).
template <Device D>
void rms_norm_gradient(Queue<D>& queue, MatrixView<const float, D> dy, MatrixView<const float, D> x,
                       const float* weight, float epsilon, MatrixView<float, D> dx);

/// What attention() of a window from position 0 on has read.
template <Device D>
struct AttentionInputs {
  MatrixView<const float, D> q;  // (tokens, heads * head_dim)
  CacheView<D> keys;
  CacheView<D> values;
  std::span<const int> kv_of_head;  // (heads)
};

/// Where the gradients in its inputs go.
template <Device D>
struct AttentionGradients {
  MatrixView<float, D> dq;  // (tokens, heads * head_dim)
  MatrixView<float, D> dk;  // (tokens, kv_heads * head_dim)
  MatrixView<float, D> dv;  // (tokens, kv_heads * head_dim)
};

/// Writes the gradients of attention() of a window from position 0 on; dout (tokens, heads * head_dim). With P the
/// softmax of a block of queries, which is computed once more (Dao 2023, arXiv 2307.08691, section 3.1):
///
///     dV = Pᵀ dO     dS = P * (dO Vᵀ - rows of Σ P * (dO Vᵀ))     dQ = dS K / sqrt(head_dim)     dK = dSᵀ Q / sqrt(…)
///
/// Working memory: a block of queries against all keys for each thread, and keys' and values' gradients of each query
/// head. Bits do not depend on the number of threads.
template <Device D>
void attention_gradient(Queue<D>& queue, const AttentionInputs<D>& inputs, MatrixView<const float, D> dout,
                        const AttentionGradients<D>& gradients);

/// Writes of each row of logits (tokens, n) its maximum and Σ exp(logit - maximum), both (tokens) in memory of D; of no
/// logits -infinity and 0.
template <Device D>
void exp_sums(Queue<D>& queue, MatrixView<const float, D> logits, float* maxima, float* sums);

/// log Σ exp of all logits of each token, in memory of D.
struct LogSums {
  const float* reference = nullptr;  // (tokens)
  const float* model = nullptr;      // (tokens)
};

/// The divergence of a slice of the vocabulary and its gradient in the model's logits m, with the reference's l,
/// p = exp(l - log sum), q = exp(m - log sum): writes divergences[t] = Σ_i p_i (log p_i - log q_i) and replaces m by
/// factor (q - p). Logits (tokens, n), divergences (tokens).
template <Device D>
void divergence_gradient(Queue<D>& queue, MatrixView<const float, D> reference, const LogSums& log_sums, float factor,
                         MatrixView<float, D> logits, float* divergences);

}  // namespace hack::kernels
