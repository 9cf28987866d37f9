#pragma once

#include "kernels/cuda/llama/cache.cuh"

namespace hack::kernels::cuda {

/// The cache head of each query head; it travels with the launch.
struct HeadMap {
  static constexpr index_t most = 512;
  std::uint16_t kv[most];
};

/// The first position that a query at `position` sees; a window of 0 is none.
HACK_BODY index_t begin_of(index_t position, index_t window) {
  return window > 0 && position + 1 > window ? position + 1 - window : 0;
}

/// One query: the softmax of a head over one part of the context, parts (heads, parts, head_dim + 2): weighted sums,
/// maximum, sum of exps. Eight lanes a key. Launched for all there can be where the device alone knows how many.
struct AttendPart {
  static constexpr const char* name = "AttendPart";
  static constexpr int max_threads = 128;
  static constexpr int lanes = 8;
  static constexpr index_t positions_of_part = 256;
  HeadMap heads;
  index_t head_count = 0;
  Array<const float> q;  // (1, heads * head_dim)
  Cache keys;
  Cache values;
  Position<Device::cuda> position = 0;  // of the query
  index_t most_positions = 0;
  index_t window = 0;
  float scale = 1;
  float* parts = nullptr;

  index_t part_count() const { return divide_up(most_positions, positions_of_part); }
  Geometry geometry() const {
    return {head_count * part_count(), max_threads, static_cast<int>(positions_of_part + keys.head_dim) + 64};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const int dim = static_cast<int>(keys.head_dim);
    const index_t positions = value_of(position) + 1;
    const index_t count_of_parts = (most_positions + positions_of_part - 1) / positions_of_part;
    const index_t head = exec.block() / count_of_parts, kv = heads.kv[head];
    const index_t part_begin = exec.block() % count_of_parts * positions_of_part,
                  begin = begin_of(positions - 1, window);
    const index_t first = part_begin < begin ? begin : part_begin;
    const index_t part_end = part_begin + positions_of_part < positions ? part_begin + positions_of_part : positions;
    if (first >= part_end) return;
    const int count = static_cast<int>(part_end - first);
    const auto scores = exec.template shared<float>(0);
    const auto query = exec.template shared<float>(positions_of_part);
    const int scratch = static_cast<int>(positions_of_part) + dim;
    for (int i = exec.thread(); i < dim; i += max_threads) query[i] = q.data[head * dim + i];
    exec.sync();

    const int group = exec.thread() / lanes, lane = exec.thread() % lanes;
    float largest = -INFINITY;
    for (int base = 0; base < count; base += max_threads / lanes) {
      const int p = base + group;
      float sum = 0;
      if (p < count) {
        const float* key = keys.row(kv, first + p);
        for (int i = lane; i < dim; i += lanes) sum += query[i] * key[i];
      }
      sum = scale * exec.group_sum(sum, lanes);
      if (p < count) {
        if (lane == 0) scores[p] = sum;
        largest = fmaxf(largest, sum);
      }
    }
    largest = block_max(exec, largest, scratch);  // its barrier is the scores' too
    float total = 0;
    for (int p = exec.thread(); p < count; p += max_threads) {
      const float weight = expf(scores[p] - largest);
      scores[p] = weight;
      total += weight;
    }
    total = block_sum(exec, total, scratch + 32);  // likewise
    float* part = parts + exec.block() * (dim + 2);
    for (int i = exec.thread(); i < dim; i += max_threads) {
      float sum = 0;
      for (int p = 0; p < count; ++p) sum += scores[p] * values.row(kv, first + p)[i];
      part[i] = sum;
    }
    if (exec.thread() == 0) {
      part[dim] = largest;
      part[dim + 1] = total;
    }
  }
};

/// Joins the parts of each head, in their order.
struct MergeParts {
  static constexpr const char* name = "MergeParts";
  static constexpr int max_threads = 128;
  const float* parts = nullptr;
  index_t head_count = 0;
  index_t part_count = 0;  // that there can be
  Position<Device::cuda> position = 0;
  index_t window = 0;
  index_t head_dim = 0;
  float* out = nullptr;

  Geometry geometry() const { return {head_count, max_threads, 0}; }
  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t stride = head_dim + 2;
    const float* mine = parts + exec.block() * part_count * stride;
    const index_t filled = value_of(position) / AttendPart::positions_of_part + 1;
    const index_t begin = begin_of(value_of(position), window) / AttendPart::positions_of_part;
    float largest = -INFINITY;
    for (index_t p = begin; p < filled; ++p) largest = fmaxf(largest, mine[p * stride + head_dim]);
    for (index_t i = exec.thread(); i < head_dim; i += max_threads) {
      float total = 0, sum = 0;
      for (index_t p = begin; p < filled; ++p) {
        const float rescale = expf(mine[p * stride + head_dim] - largest);
        total += rescale * mine[p * stride + head_dim + 1];
        sum += rescale * mine[p * stride + i];
      }
      out[exec.block() * head_dim + i] = sum / total;
    }
  }
};

/// Many queries: 32 of one head a block, over blocks of 32 keys with a running softmax; eight lanes a query.
/// MaxDim >= head_dim bounds what a lane holds.
template <int MaxDim>
struct AttendBlock {
  static constexpr const char* name = "AttendBlock";
  static constexpr int block = 32;  // queries, and keys
  static constexpr int lanes = 8;
  static constexpr int max_threads = block * lanes;
  static constexpr int score_stride = block + 1;
  HeadMap heads;
  index_t head_count = 0;
  Array<const float> q;  // (tokens, heads * head_dim)
  Cache keys;
  Cache values;
  index_t first_position = 0;
  index_t window = 0;
  float scale = 1;
  Array<float> out;

  Geometry geometry() const {
    const int panel = block * (static_cast<int>(keys.head_dim) + 1);
    return {head_count * divide_up(q.rows, block), max_threads, 2 * panel + block * score_stride};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const int dim = static_cast<int>(keys.head_dim), stride = dim + 1;
    const index_t blocks = (q.rows + block - 1) / block;
    const index_t head = exec.block() % head_count, kv = heads.kv[head];
    const index_t first = (blocks - 1 - exec.block() / head_count) * block;  // those that see most keys go first
    const int count = static_cast<int>(q.rows - first < block ? q.rows - first : block);
    const auto queries = exec.template shared<float>(0);
    const auto panel = exec.template shared<float>(block * stride);
    const auto scores = exec.template shared<float>(2 * block * stride);
    const int query = exec.thread() / lanes, lane = exec.thread() % lanes;
    for (int n = exec.thread(); n < block * dim; n += max_threads) {
      queries[n / dim * stride + n % dim] = n / dim < count ? q.row(first + n / dim)[head * dim + n % dim] : 0.0f;
    }
    const index_t seen = first_position + first + query + 1;  // keys of this lane's query end here
    const index_t unseen = begin_of(seen - 1, window);        // and begin here
    const index_t end = first_position + first + count;
    float largest = -INFINITY, total = 0;
    float sums[MaxDim / lanes] = {};
    for (index_t key = begin_of(first_position + first, window); key < end; key += block) {
      const int keys_here = static_cast<int>(end - key < block ? end - key : block);
      exec.sync();  // the values before have been read
      load(exec, keys, kv, key, keys_here, panel);
      exec.sync();
      float score[block / lanes];
      float maximum = largest;
      HACK_UNROLL
      for (int m = 0; m < block / lanes; ++m) {
        const int p = lane + m * lanes;
        float sum = 0;
        for (int i = 0; i < dim; ++i) sum += queries[query * stride + i] * panel[p * stride + i];
        score[m] = key + p < seen && key + p >= unseen ? scale * sum : -INFINITY;
        maximum = fmaxf(maximum, score[m]);
      }
      for (int mask = 1; mask < lanes; mask *= 2) maximum = fmaxf(maximum, exec.shuffle_xor(maximum, mask));
      // A window can begin behind the first blocks: there is no maximum so far, and all weights are 0.
      const float base = maximum == -INFINITY ? 0.0f : maximum;
      const float rescale = expf(largest - base);
      largest = maximum;
      float part = 0;
      HACK_UNROLL
      for (int m = 0; m < block / lanes; ++m) {
        const float weight = expf(score[m] - base);
        scores[query * score_stride + lane + m * lanes] = weight;
        part += weight;
      }
      total = total * rescale + exec.group_sum(part, lanes);
      exec.sync();  // the keys have been read
      load(exec, values, kv, key, keys_here, panel);
      exec.sync();
      add_values(scores, query * score_stride, panel, lane, keys_here, rescale, sums);
    }
    if (query >= count) return;
    HACK_UNROLL
    for (int m = 0; m < MaxDim / lanes; ++m) {
      const int i = lane + m * lanes;
      if (i < dim) out.row(first + query)[head * dim + i] = sums[m] / total;
    }
  }

 private:
  /// sums = rescale · sums + Σ_p weight p · value p, of the lane's numbers; weights begin at `first` of the scores.
  template <class Shared>
  HACK_BODY void add_values(const Shared& scores, int first, const Shared& panel, int lane, int count, float rescale,
                            float* sums) const {
    const int dim = static_cast<int>(keys.head_dim), stride = dim + 1;
    HACK_UNROLL
    for (int m = 0; m < MaxDim / lanes; ++m) {
      const int i = lane + m * lanes;
      if (i >= dim) continue;
      float sum = sums[m] * rescale;
      for (int p = 0; p < count; ++p) sum += scores[first + p] * panel[p * stride + i];
      sums[m] = sum;
    }
  }

  /// Rows beyond `count` become zeros.
  template <class Exec, class Panel>
  HACK_BODY void load(Exec& exec, const Cache& cache, index_t kv, index_t first, int count, const Panel& panel) const {
    const int dim = static_cast<int>(cache.head_dim);
    for (int n = exec.thread(); n < block * dim; n += max_threads) {
      panel[n / dim * (dim + 1) + n % dim] = n / dim < count ? cache.row(kv, first + n / dim)[n % dim] : 0.0f;
    }
  }
};

}  // namespace hack::kernels::cuda

#define HACK_ATTENTION_KERNELS(X) \
  X(AppendToCache)                \
  X(AttendPart)                   \
  X(MergeParts)                   \
  X(AttendBlock<64>)              \
  X(AttendBlock<128>)             \
  X(AttendBlock<256>)
