#include "kernels/attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/linear/gemm.hpp"
#include "kernels/cpu/linear/matvec.hpp"
#include "kernels/cpu/linear/row_math.hpp"
#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/cpu/team.hpp"

namespace hack::kernels {

namespace {

constexpr index_t query_block = 128;
constexpr index_t key_block = 512;  // scores (query_block, key_block): a quarter of a megabyte, in L2
constexpr float lowest = -std::numeric_limits<float>::infinity();

/// One head of an attention call.
struct Head {
  MatrixView<const float> q;       // (tokens, head_dim)
  MatrixView<const float> keys;    // (positions, head_dim)
  MatrixView<const float> values;  // (positions, head_dim)
  MatrixView<float> out;           // (tokens, head_dim)
  index_t first_position;
  index_t window;  // 0: none
  float scale;

  /// The first position that a query at `position` sees.
  index_t begin_of(index_t position) const { return window > 0 ? std::max<index_t>(0, position + 1 - window) : 0; }
};

/// One attention call.
struct Call {
  MatrixView<const float> q;
  CacheView<Device::cpu> keys;
  CacheView<Device::cpu> values;
  std::span<const int> kv_of_head;
  index_t first_position;
  MatrixView<float> out;

  index_t heads() const { return std::ssize(kv_of_head); }
  index_t positions() const { return first_position + q.rows; }
  /// One of the queries, and where its context begins and into how many parts it falls.
  Call query(index_t t) const {
    return {q.rows_from(t, 1), keys, values, kv_of_head, first_position + t, out.rows_from(t, 1)};
  }
  index_t begin() const { return keys.window > 0 ? std::max<index_t>(0, first_position + 1 - keys.window) : 0; }
  index_t parts() const { return (positions() - begin() + key_block - 1) / key_block; }
  Head head(index_t h) const {
    const index_t dim = keys.head_dim;
    return {q.block(0, h * dim, q.rows, dim),
            {keys.head(kv_of_head[h]), positions(), dim},
            {values.head(kv_of_head[h]), positions(), dim},
            out.block(0, h * dim, q.rows, dim),
            first_position,
            keys.window,
            keys.score_factor / std::sqrt(static_cast<float>(dim))};
  }
};

thread_local Scratch score_panel;  // (query_block, key_block), then maxima and sums (2, query_block)
thread_local Scratch part_panel;   // of the thread that calls: (tokens, heads, parts, head_dim + 2), see attend_few

/// The part of a block of keys that a query sees.
struct Seen {
  index_t begin;
  index_t end;
};

/// Turns row's scores into exp(scale * score - maximum) where they are seen and zeros elsewhere, and folds them into
/// the running maximum and sum of the query. Returns by what earlier exps are to be multiplied.
float fold_scores(float* row, Seen seen, index_t count, float scale, float& running_maximum, float& running_sum) {
  if (seen.end <= seen.begin) {
    std::fill_n(row, count, 0.0f);
    return 1;
  }
  const index_t length = seen.end - seen.begin;
  const float before = running_maximum;
  running_maximum = std::max(before, scale * maximum(row + seen.begin, length));
  const float rescale = std::exp(before - running_maximum);  // exp(-inf) = 0 at the first block
  running_sum = running_sum * rescale + exp_and_sum(row + seen.begin, length, scale, running_maximum);
  std::fill_n(row, seen.begin, 0.0f);
  std::fill_n(row + seen.end, count - seen.end, 0.0f);
  return rescale;
}

/// Attention of queries [first, first + rows) of one head, over blocks of keys with a running softmax.
void attend_block(const Head& head, index_t first, index_t rows) {
  float* panel = score_panel.get(query_block * key_block + 2 * query_block);
  float* maxima = panel + query_block * key_block;
  float* sums = maxima + query_block;
  std::fill_n(maxima, rows, lowest);
  std::fill_n(sums, rows, 0.0f);
  const MatrixView<const float> q = head.q.rows_from(first, rows);
  const MatrixView<float> out = head.out.rows_from(first, rows);
  const index_t end = head.first_position + first + rows;
  const index_t begin = head.begin_of(head.first_position + first);
  for (index_t key = begin; key < end; key += key_block) {
    const index_t count = std::min(key_block, end - key);
    const MatrixView<float> scores{panel, rows, count};
    const MatrixView<const float> keys = head.keys.rows_from(key, count);
    multiply_transposed(q, {keys.data, Codec::f32, count, keys.cols, keys.ld}, scores, Write::replace);
    for (index_t t = 0; t < rows; ++t) {
      const index_t position = head.first_position + first + t;
      const Seen seen{std::clamp<index_t>(head.begin_of(position) - key, 0, count),
                      std::min(count, position + 1 - key)};
      const float rescale = fold_scores(scores.row(t), seen, count, head.scale, maxima[t], sums[t]);
      if (key > begin && rescale != 1) {
        for (index_t i = 0; i < out.cols; ++i) out(t, i) *= rescale;
      }
    }
    multiply(scores, head.values.rows_from(key, count), out, key == begin ? Write::replace : Write::add);
  }
  for (index_t t = 0; t < rows; ++t) {
    for (index_t i = 0; i < out.cols; ++i) out(t, i) /= sums[t];
  }
}

void attend_many(Queue<Device::cpu>& queue, const Call& call) {
  const index_t blocks = (call.q.rows + query_block - 1) / query_block;
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (index_t task = 0; task < blocks * call.heads(); ++task) {
    const index_t block = blocks - 1 - task / call.heads();  // the last queries see most keys: they go first
    const index_t first = block * query_block;
    attend_block(call.head(task % call.heads()), first, std::min(query_block, call.q.rows - first));
  }
}

/// Softmax of one query over positions [first, first + count): part = (head_dim weighted sums, maximum, sum of exps).
void attend_part(const Head& head, index_t first, index_t count, float* part) {
  const index_t dim = head.q.cols;
  float* scores = score_panel.get(key_block);
  const MatrixView<const float> keys = head.keys.rows_from(first, count);
  multiply_few(head.q, {keys.data, Codec::f32, count, dim, keys.ld}, {scores, 1, count}, Write::replace);
  part[dim] = head.scale * maximum(scores, count);
  part[dim + 1] = exp_and_sum(scores, count, head.scale, part[dim]);
  weighted_sum(scores, head.values.row(first), head.values.ld, count, part, dim);
}

/// Joins the parts of one head in their order.
void merge_parts(const float* parts, index_t count, index_t dim, float* out) {
  const index_t stride = dim + 2;
  float largest = lowest;
  for (index_t p = 0; p < count; ++p) largest = std::max(largest, parts[p * stride + dim]);
  std::fill_n(out, dim, 0.0f);
  float sum = 0;
  for (index_t p = 0; p < count; ++p) {
    const float* part = parts + p * stride;
    const float rescale = std::exp(part[dim] - largest);
    sum += rescale * part[dim + 1];
    for (index_t i = 0; i < dim; ++i) out[i] += rescale * part[i];
  }
  for (index_t i = 0; i < dim; ++i) out[i] /= sum;
}

/// Few queries: they, heads and parts of the context are spread over the threads. Each has the sums that it has alone,
/// so that its bits do not depend on how many stand beside it.
void attend_few(Queue<Device::cpu>& queue, const Call& call) {
  const index_t dim = call.keys.head_dim, tokens = call.q.rows;
  const index_t count = call.query(tokens - 1).parts();  // of the last query: others may need fewer
  const index_t stride = count * (dim + 2);
  const index_t bytes = tokens * call.heads() * count * key_block * dim * 8;
  float* parts = part_panel.get(tokens * call.heads() * stride);
#pragma omp parallel for schedule(static) num_threads(team_size(queue, bytes))
  for (index_t task = 0; task < tokens * call.heads() * count; ++task) {
    const Call query = call.query(task / (call.heads() * count));
    const index_t first = query.begin() + task % count * key_block;
    if (first >= query.positions()) continue;
    attend_part(query.head(task / count % call.heads()), first, std::min(key_block, query.positions() - first),
                parts + task * (dim + 2));
  }
  for (index_t t = 0; t < tokens; ++t) {
    const index_t own = call.query(t).parts();
    for (index_t h = 0; h < call.heads(); ++h) {
      merge_parts(parts + (t * call.heads() + h) * stride, own, dim, call.out.row(t) + h * dim);
    }
  }
}

}  // namespace

template <>
void append_to_cache<Device::cpu>(Queue<Device::cpu>& queue, MatrixView<const float> rows,
                                  Position<Device::cpu> position, CacheView<Device::cpu> cache) {
  const index_t first_position = value_of(position);
  HACK_EXPECT(rows.cols == cache.kv_heads * cache.head_dim);
  HACK_EXPECT(first_position >= 0 && first_position + rows.rows <= cache.capacity);
#pragma omp parallel for schedule(static) num_threads(team_size(queue, rows.rows* rows.cols * 8))
  for (index_t t = 0; t < rows.rows; ++t) {
    for (index_t h = 0; h < cache.kv_heads; ++h) {
      std::copy_n(rows.row(t) + h * cache.head_dim, cache.head_dim,
                  cache.head(h) + (first_position + t) * cache.head_dim);
    }
  }
}

template <>
void attention<Device::cpu>(Queue<Device::cpu>& queue, MatrixView<const float> q, CacheView<Device::cpu> keys,
                            CacheView<Device::cpu> values, std::span<const int> kv_of_head,
                            Position<Device::cpu> position, MatrixView<float> out) {
  const index_t first_position = value_of(position);
  const index_t width = std::ssize(kv_of_head) * keys.head_dim;
  HACK_EXPECT(q.cols == width && out.cols == width && out.rows == q.rows);
  HACK_EXPECT(keys.head_dim == values.head_dim && first_position >= 0);
  HACK_EXPECT(first_position + q.rows <= std::min(keys.capacity, values.capacity));
  if (q.rows == 0) return;
  const Call call{q, keys, values, kv_of_head, first_position, out};
  if (q.rows <= few_tokens) {
    attend_few(queue, call);
  } else {
    attend_many(queue, call);
  }
}

}  // namespace hack::kernels
