#include "kernels/back_propagation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/linear/gemm.hpp"
#include "kernels/cpu/linear/row_math.hpp"
#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/cpu/team.hpp"
#include "kernels/cpu/train/gradient_rows.hpp"

namespace hack::kernels {
namespace {

using X = MatrixView<const float>;
using Y = MatrixView<float>;
using CpuQueue = Queue<Device::cpu>;

constexpr index_t attention_rows = 64;  // queries whose scores are in memory at once

thread_local Scratch weights_panel;  // (attention_rows, tokens) P
thread_local Scratch scores_panel;   // (attention_rows, tokens) dO Vᵀ, then dS
thread_local Scratch turned_panel;   // (tokens, attention_rows) of either
thread_local Scratch head_panel;     // of the thread that calls: (heads, 2, tokens, head_dim) dK and dV
thread_local Scratch logit_panel;    // (2, n) exponentials of one token

index_t bytes_of_rows(index_t rows, index_t cols) { return rows * cols * static_cast<index_t>(sizeof(float)); }

/// One query head: its keys and values, and where its gradients go.
struct GradientHead {
  X q, keys, values, dout;  // (tokens, head_dim)
  Y dq, dk, dv;             // (tokens, head_dim)
};

GradientHead gradient_head(const AttentionInputs<Device::cpu>& inputs, X dout, Y dq, float* panel, index_t h) {
  const index_t tokens = inputs.q.rows, dim = inputs.keys.head_dim, kv = inputs.kv_of_head[static_cast<std::size_t>(h)];
  float* own = panel + 2 * h * tokens * dim;
  return {inputs.q.block(0, h * dim, tokens, dim), {inputs.keys.head(kv), tokens, dim},
          {inputs.values.head(kv), tokens, dim},   dout.block(0, h * dim, tokens, dim),
          dq.block(0, h * dim, tokens, dim),       {own, tokens, dim},
          {own + tokens * dim, tokens, dim}};
}

/// y += xᵀ b.
void add_turned_product(X x, X b, Y y) {
  const index_t ld = (x.rows + 15) / 16 * 16 + 16;
  const Y turned{turned_panel.get(x.cols * ld), x.cols, x.rows, ld};
  transpose(x, turned);
  multiply(turned, b, y, Write::add);
}

/// Softmax of the queries from `first` on over the positions up to their own; zeros beyond.
void write_attention_weights(const GradientHead& head, index_t first, float scale, Y weights) {
  const X keys = head.keys.rows_from(0, weights.cols);
  multiply_transposed(head.q.rows_from(first, weights.rows), {keys.data, Codec::f32, keys.rows, keys.cols, keys.ld},
                      weights, Write::replace);
  for (index_t t = 0; t < weights.rows; ++t) {
    float* row = weights.row(t);
    const index_t seen = first + t + 1;
    const float sum = exp_and_sum(row, seen, scale, scale * maximum(row, seen));
    for (index_t j = 0; j < seen; ++j) row[j] /= sum;
    std::fill(row + seen, row + weights.cols, 0.0f);
  }
}

/// d = scale P * (d - Σ_j P_j d_j), row by row.
void write_score_gradients(X weights, float scale, Y d) {
  for (index_t t = 0; t < d.rows; ++t) {
    const float* p = weights.row(t);
    float* row = d.row(t);
    double sum = 0;
    for (index_t j = 0; j < d.cols; ++j) sum += static_cast<double>(p[j] * row[j]);
    const auto mean = static_cast<float>(sum);
    for (index_t j = 0; j < d.cols; ++j) row[j] = scale * p[j] * (row[j] - mean);
  }
}

/// Queries in blocks from the first to the last, so that sums have one order.
void differentiate_head(const GradientHead& head) {
  const index_t tokens = head.q.rows, dim = head.q.cols;
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  std::fill_n(head.dk.data, tokens * dim, 0.0f);
  std::fill_n(head.dv.data, tokens * dim, 0.0f);
  for (index_t first = 0; first < tokens; first += attention_rows) {
    const index_t rows = std::min(attention_rows, tokens - first), seen = first + rows;
    const Y weights{weights_panel.get(attention_rows * tokens), rows, seen};
    const Y scores{scores_panel.get(attention_rows * tokens), rows, seen};
    write_attention_weights(head, first, scale, weights);
    const X dout = head.dout.rows_from(first, rows);
    add_turned_product(weights, dout, head.dv.rows_from(0, seen));
    multiply_transposed(dout, {head.values.data, Codec::f32, seen, dim, head.values.ld}, scores, Write::replace);
    write_score_gradients(weights, scale, scores);
    multiply(scores, head.keys.rows_from(0, seen), head.dq.rows_from(first, rows), Write::replace);
    add_turned_product(scores, head.q.rows_from(first, rows), head.dk.rows_from(0, seen));
  }
}

}  // namespace

template <>
void rms_norm_gradient<Device::cpu>(CpuQueue& queue, X dy, X x, const float* weight, float epsilon, Y dx) {
  HACK_EXPECT(dy.rows == x.rows && dy.cols == x.cols && dx.rows == x.rows && dx.cols == x.cols);
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 3 * bytes_of_rows(x.rows, x.cols)))
  for (index_t i = 0; i < x.rows; ++i) {
    const float *in = x.row(i), *of = dy.row(i);
    float* to = dx.row(i);
    double squares = 0, dot = 0;
    for (index_t j = 0; j < x.cols; ++j) {
      squares += static_cast<double>(in[j]) * in[j];
      dot += static_cast<double>(weight[j]) * of[j] * in[j];
    }
    const double n = static_cast<double>(x.cols), scale = 1 / std::sqrt(squares / n + epsilon);
    const auto own = static_cast<float>(scale), back = static_cast<float>(scale * scale * scale * dot / n);
    for (index_t j = 0; j < x.cols; ++j) to[j] += own * (weight[j] * of[j]) - back * in[j];
  }
}

template <>
void attention_gradient<Device::cpu>(CpuQueue& queue, const AttentionInputs<Device::cpu>& inputs, X dout,
                                     const AttentionGradients<Device::cpu>& gradients) {
  const index_t tokens = inputs.q.rows, dim = inputs.keys.head_dim, heads = std::ssize(inputs.kv_of_head);
  HACK_EXPECT(inputs.q.cols == heads * dim && dout.rows == tokens && dout.cols == heads * dim);
  HACK_EXPECT(gradients.dk.cols == inputs.keys.kv_heads * dim && gradients.dv.cols == gradients.dk.cols);
  float* panel = head_panel.get(2 * heads * tokens * dim);
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (index_t h = 0; h < heads; ++h) differentiate_head(gradient_head(inputs, dout, gradients.dq, panel, h));
    // Heads that share keys and values are added in their order.
#pragma omp parallel for schedule(static) num_threads(queue.threads())
  for (index_t t = 0; t < tokens; ++t) {
    std::fill_n(gradients.dk.row(t), gradients.dk.cols, 0.0f);
    std::fill_n(gradients.dv.row(t), gradients.dv.cols, 0.0f);
    for (index_t h = 0; h < heads; ++h) {
      const float* own = panel + (2 * h * tokens + t) * dim;
      float* dk = gradients.dk.row(t) + inputs.kv_of_head[static_cast<std::size_t>(h)] * dim;
      float* dv = gradients.dv.row(t) + inputs.kv_of_head[static_cast<std::size_t>(h)] * dim;
      for (index_t i = 0; i < dim; ++i) dk[i] += own[i];
      for (index_t i = 0; i < dim; ++i) dv[i] += own[tokens * dim + i];
    }
  }
}

template <>
void exp_sums<Device::cpu>(CpuQueue& queue, X logits, float* maxima, float* sums) {
#pragma omp parallel for schedule(static) num_threads(team_size(queue, bytes_of_rows(logits.rows, logits.cols)))
  for (index_t t = 0; t < logits.rows; ++t) {
    float* copy = logit_panel.get(logits.cols);
    std::copy_n(logits.row(t), logits.cols, copy);
    maxima[t] = logits.cols == 0 ? -std::numeric_limits<float>::infinity() : maximum(copy, logits.cols);
    sums[t] = logits.cols == 0 ? 0 : exp_and_sum(copy, logits.cols, 1, maxima[t]);
  }
}

template <>
void divergence_gradient<Device::cpu>(CpuQueue& queue, X reference, const LogSums& log_sums, float factor, Y logits,
                                      float* divergences) {
  HACK_EXPECT(reference.rows == logits.rows && reference.cols == logits.cols);
  const index_t n = logits.cols;
#pragma omp parallel for schedule(static) num_threads(team_size(queue, 2 * bytes_of_rows(logits.rows, n)))
  for (index_t t = 0; t < logits.rows; ++t) {
    const float* l = reference.row(t);
    float* m = logits.row(t);
    float *p = logit_panel.get(2 * n), *q = p + n;
    std::copy_n(l, n, p);
    std::copy_n(m, n, q);
    if (n > 0) exp_and_sum(p, n, 1, log_sums.reference[t]);
    if (n > 0) exp_and_sum(q, n, 1, log_sums.model[t]);
    const float rest = log_sums.model[t] - log_sums.reference[t];
    double sum = 0;
    for (index_t i = 0; i < n; ++i) {
      sum += static_cast<double>(p[i] * (l[i] - m[i] + rest));
      m[i] = factor * (q[i] - p[i]);
    }
    divergences[t] = static_cast<float>(sum);
  }
}

}  // namespace hack::kernels
