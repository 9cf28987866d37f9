#pragma once

#include "kernels/cuda/llama/elementwise.cuh"
#include "kernels/cuda/llama/vocabulary.cuh"

namespace hack::kernels::cuda {

/// rms_norm_gradient(): a block per row.
struct RmsNormGradient {
  static constexpr const char* name = "RmsNormGradient";
  static constexpr int max_threads = 256;
  Array<const float> dy;
  Array<const float> x;
  const float* weight = nullptr;
  float epsilon = 0;
  Array<float> dx;

  Geometry geometry() const { return {x.rows, max_threads, 64}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const float *in = x.row(exec.block()), *of = dy.row(exec.block());
    float* to = dx.row(exec.block());
    float squares = 0, dot = 0;
    for (index_t j = exec.thread(); j < x.cols; j += max_threads) {
      squares += in[j] * in[j];
      dot += weight[j] * of[j] * in[j];
    }
    const float n = static_cast<float>(x.cols);
    const float scale = 1 / sqrtf(block_sum(exec, squares, 0) / n + epsilon);
    const float back = scale * scale * scale * block_sum(exec, dot, 32) / n;
    for (index_t j = exec.thread(); j < x.cols; j += max_threads) to[j] += scale * (weight[j] * of[j]) - back * in[j];
  }
};

/// exp_sums(): a block per token.
struct ExpSums {
  static constexpr const char* name = "ExpSums";
  static constexpr int max_threads = RowExpSum::max_threads;
  Array<const float> logits;
  float* maxima = nullptr;
  float* sums = nullptr;

  Geometry geometry() const { return {logits.rows, max_threads, RowExpSum::shared_floats}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const RowExpSum found = RowExpSum::find(exec, logits.row(exec.block()), logits.cols);
    if (exec.thread() != 0) return;
    maxima[exec.block()] = found.maximum;
    sums[exec.block()] = found.sum;
  }
};

/// divergence_gradient(): a block per token.
struct DivergenceGradient {
  static constexpr const char* name = "DivergenceGradient";
  static constexpr int max_threads = 256;
  Array<const float> reference;
  const float* reference_log_sums = nullptr;
  const float* log_sums = nullptr;
  float factor = 1;
  Array<float> logits;
  float* divergences = nullptr;

  Geometry geometry() const { return {logits.rows, max_threads, 32}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const float* l = reference.row(exec.block());
    float* m = logits.row(exec.block());
    const float of_l = reference_log_sums[exec.block()], of_m = log_sums[exec.block()];
    float sum = 0;
    for (index_t i = exec.thread(); i < logits.cols; i += max_threads) {
      const float p = expf(l[i] - of_l), q = expf(m[i] - of_m);
      sum += p * (l[i] - m[i] + (of_m - of_l));
      m[i] = factor * (q - p);
    }
    sum = block_sum(exec, sum, 0);
    if (exec.thread() == 0) divergences[exec.block()] = sum;
  }
};

}  // namespace hack::kernels::cuda

#define HACK_BACK_PROPAGATION_KERNELS(X) \
  X(RmsNormGradient)                     \
  X(ExpSums)                             \
  X(DivergenceGradient)
