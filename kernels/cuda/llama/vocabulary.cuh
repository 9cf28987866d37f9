#pragma once

#include "kernels/cuda/llama/elementwise.cuh"
#include "kernels/divergence_parts.hpp"
#include "kernels/loss_parts.hpp"

namespace hack::kernels::cuda {

/// The maximum of a row of logits, and Σ exp(logit - maximum).
struct RowExpSum {
  static constexpr int max_threads = 256, shared_floats = 64;
  float maximum;
  float sum;

  /// By a block of max_threads.
  template <class Exec>
  static HACK_BODY RowExpSum find(Exec& exec, const float* row, index_t cols) {
    float largest = -INFINITY;
    for (index_t i = exec.thread(); i < cols; i += max_threads) largest = fmaxf(largest, row[i]);
    largest = block_max(exec, largest, 0);
    float sum = 0;
    for (index_t i = exec.thread(); i < cols; i += max_threads) sum += expf(row[i] - largest);
    return {largest, block_sum(exec, sum, 32)};
  }
};

/// Maximum, sum of exps and the target's logit of each row of logits; a block a token.
struct LossOfLogits {
  static constexpr const char* name = "LossOfLogits";
  static constexpr int max_threads = RowExpSum::max_threads;
  Array<const float> logits;
  TokenIds targets;
  index_t first_id = 0;
  PartialLoss* out = nullptr;

  Geometry geometry() const { return {logits.rows, max_threads, RowExpSum::shared_floats}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const float* row = logits.row(exec.block());
    const RowExpSum found = RowExpSum::find(exec, row, logits.cols);
    if (exec.thread() != 0) return;
    const index_t target = targets.ids[exec.block()] - first_id;
    out[exec.block()] = {found.maximum, found.sum, target >= 0 && target < logits.cols ? row[target] : 0.0f};
  }
};

/// How each row of logits m diverges from that of a reference, l; a block a token, sums in double as on the CPU.
struct DivergenceOfLogits {
  static constexpr const char* name = "DivergenceOfLogits";
  static constexpr int max_threads = 256;
  Array<const float> reference;
  Array<const float> logits;
  PartialDivergence* out = nullptr;

  Geometry geometry() const { return {logits.rows, max_threads, 192}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const float* l = reference.row(exec.block());
    const float* m = logits.row(exec.block());
    float largest_l = -INFINITY, largest_m = -INFINITY;
    for (index_t i = exec.thread(); i < logits.cols; i += max_threads) {
      largest_l = fmaxf(largest_l, l[i]);
      largest_m = fmaxf(largest_m, m[i]);
    }
    largest_l = block_max(exec, largest_l, 0);
    largest_m = block_max(exec, largest_m, 32);
    float sum_l = 0, sum_m = 0, gap = 0, at_top = -INFINITY;
    for (index_t i = exec.thread(); i < logits.cols; i += max_threads) {
      if (l[i] == largest_l) at_top = fmaxf(at_top, m[i]);
      const float weight = expf(l[i] - largest_l);
      sum_l += weight;
      sum_m += expf(m[i] - largest_m);
      gap += weight * (l[i] - m[i]);
    }
    sum_l = block_sum(exec, sum_l, 64);
    sum_m = block_sum(exec, sum_m, 96);
    gap = block_sum(exec, gap, 128);
    at_top = block_max(exec, at_top, 160);
    if (exec.thread() == 0) out[exec.block()] = {largest_l, largest_m, at_top, sum_l, sum_m, gap};
  }
};

}  // namespace hack::kernels::cuda

#define HACK_VOCABULARY_KERNELS(X) \
  X(LossOfLogits)                  \
  X(DivergenceOfLogits)
