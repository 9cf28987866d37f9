#pragma once

#include "kernels/cuda/llama/attention.cuh"

namespace hack::kernels::cuda {

/// What both kernels of attention's gradient read, and the softmax's log sum and Σ P (dO Vᵀ) of each query, which the
/// first writes for the second: stats (2, heads, tokens).
struct AttentionCall {
  static constexpr int threads = 128;
  static constexpr int most_dim = 2 * threads;
  HeadMap heads;
  index_t head_count = 0;
  Array<const float> q;
  Array<const float> dout;
  Cache keys;
  Cache values;
  float* stats = nullptr;

  HACK_BODY float& log_sum(index_t head, index_t t) const { return stats[head * q.rows + t]; }
  HACK_BODY float& mean(index_t head, index_t t) const { return stats[(head_count + head) * q.rows + t]; }
};

/// Σ a b over n numbers; a in shared memory.
template <class Shared>
HACK_BODY float shared_dot(const Shared& a, const float* b, int n) {
  float sum = 0;
  for (int i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// dQ, and the stats: a block per query and head. Each thread takes keys in turn; their part of dQ is added for all
/// dimensions by the block, key after key.
struct QueryGradient {
  static constexpr const char* name = "QueryGradient";
  static constexpr int max_threads = AttentionCall::threads;
  AttentionCall call;
  Array<float> dq;

  Geometry geometry() const {
    return {call.q.rows * call.head_count, max_threads, static_cast<int>(2 * call.keys.head_dim) + max_threads + 96};
  }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const int dim = static_cast<int>(call.keys.head_dim);
    const index_t t = exec.block() / call.head_count, head = exec.block() % call.head_count, kv = call.heads.kv[head];
    const auto query = exec.template shared<float>(0);
    const auto gradient = exec.template shared<float>(dim);
    const auto weights = exec.template shared<float>(2 * dim);
    const int scratch = 2 * dim + max_threads;
    for (int i = exec.thread(); i < dim; i += max_threads) {
      query[i] = call.q.row(t)[head * dim + i];
      gradient[i] = call.dout.row(t)[head * dim + i];
    }
    exec.sync();

    const float scale = 1 / sqrtf(static_cast<float>(dim));
    float largest = -INFINITY, sum = 0, gap = 0;
    for (index_t s = exec.thread(); s <= t; s += max_threads) {
      const float score = scale * shared_dot(query, call.keys.row(kv, s), dim);
      const float of_weight = shared_dot(gradient, call.values.row(kv, s), dim);
      if (score > largest) {
        sum *= expf(largest - score);
        gap *= expf(largest - score);
        largest = score;
      }
      sum += expf(score - largest);
      gap += expf(score - largest) * of_weight;
    }
    const float joint = block_max(exec, largest, scratch);
    const float rescale = expf(largest - joint);  // exp(-inf) = 0 of a thread without keys
    sum = block_sum(exec, sum * rescale, scratch + 32);
    const float mean = block_sum(exec, gap * rescale, scratch + 64) / sum, log_sum = joint + logf(sum);
    if (exec.thread() == 0) {
      call.log_sum(head, t) = log_sum;
      call.mean(head, t) = mean;
    }

    float sums[2] = {0, 0};
    for (index_t base = 0; base <= t; base += max_threads) {
      const index_t s = base + exec.thread();
      float weight = 0;
      if (s <= t) {
        const float p = expf(scale * shared_dot(query, call.keys.row(kv, s), dim) - log_sum);
        weight = scale * p * (shared_dot(gradient, call.values.row(kv, s), dim) - mean);
      }
      exec.sync();
      weights[exec.thread()] = weight;
      exec.sync();
      const int count = static_cast<int>(t + 1 - base < max_threads ? t + 1 - base : max_threads);
      HACK_UNROLL
      for (int slot = 0; slot < 2; ++slot) {
        const int i = exec.thread() + slot * max_threads;
        for (int j = 0; j < count && i < dim; ++j) sums[slot] += weights[j] * call.keys.row(kv, base + j)[i];
      }
    }
    HACK_UNROLL
    for (int slot = 0; slot < 2; ++slot) {
      const int i = exec.thread() + slot * max_threads;
      if (i < dim) dq.row(t)[head * dim + i] = sums[slot];
    }
  }
};

/// dK and dV: a block per key and cache head, over the query heads that read it and the queries that see it, in order.
struct KeyGradient {
  static constexpr const char* name = "KeyGradient";
  static constexpr int max_threads = AttentionCall::threads;
  AttentionCall call;
  index_t kv_heads = 0;
  Array<float> dk;
  Array<float> dv;

  Geometry geometry() const {
    return {call.q.rows * kv_heads, max_threads, static_cast<int>(2 * call.keys.head_dim) + 2 * max_threads};
  }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const int dim = static_cast<int>(call.keys.head_dim);
    const index_t s = exec.block() / kv_heads, kv = exec.block() % kv_heads;
    const auto key = exec.template shared<float>(0);
    const auto value = exec.template shared<float>(dim);
    const auto weights = exec.template shared<float>(2 * dim);               // P of queries
    const auto slopes = exec.template shared<float>(2 * dim + max_threads);  // dS of queries
    for (int i = exec.thread(); i < dim; i += max_threads) {
      key[i] = call.keys.row(kv, s)[i];
      value[i] = call.values.row(kv, s)[i];
    }
    exec.sync();
    const float scale = 1 / sqrtf(static_cast<float>(dim));
    float of_key[2] = {0, 0}, of_value[2] = {0, 0};
    for (index_t head = 0; head < call.head_count; ++head) {
      if (call.heads.kv[head] != kv) continue;
      for (index_t base = s; base < call.q.rows; base += max_threads) {
        const index_t t = base + exec.thread();
        float p = 0, slope = 0;
        if (t < call.q.rows) {
          p = expf(scale * shared_dot(key, call.q.row(t) + head * dim, dim) - call.log_sum(head, t));
          slope = scale * p * (shared_dot(value, call.dout.row(t) + head * dim, dim) - call.mean(head, t));
        }
        exec.sync();
        weights[exec.thread()] = p;
        slopes[exec.thread()] = slope;
        exec.sync();
        const int count = static_cast<int>(call.q.rows - base < max_threads ? call.q.rows - base : max_threads);
        HACK_UNROLL
        for (int slot = 0; slot < 2; ++slot) {
          const int i = exec.thread() + slot * max_threads;
          for (int j = 0; j < count && i < dim; ++j) {
            of_key[slot] += slopes[j] * call.q.row(base + j)[head * dim + i];
            of_value[slot] += weights[j] * call.dout.row(base + j)[head * dim + i];
          }
        }
      }
    }
    HACK_UNROLL
    for (int slot = 0; slot < 2; ++slot) {
      const int i = exec.thread() + slot * max_threads;
      if (i >= dim) continue;
      dk.row(s)[kv * dim + i] = of_key[slot];
      dv.row(s)[kv * dim + i] = of_value[slot];
    }
  }
};

}  // namespace hack::kernels::cuda

#define HACK_ATTENTION_GRADIENT_KERNELS(X) \
  X(QueryGradient)                         \
  X(KeyGradient)
