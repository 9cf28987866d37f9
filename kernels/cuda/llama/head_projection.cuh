#pragma once

#include "kernels/cuda/linear/row_stream.cuh"
#include "kernels/cuda/llama/cache.cuh"

namespace hack::kernels::cuda {

/// Queries, keys and values of one token: a warp for number i of the first half of a head and its partner in the
/// second, which are rotated together where they are made; keys and values go to the cache at once.
template <class W>
struct ProjectHeads {
  static constexpr const char* name = "ProjectHeads";
  static constexpr int max_threads = 256;
  static constexpr int least_blocks = 3;
  static constexpr int warps = max_threads / 32;
  static constexpr int rows_of_warp = 2;
  using Stream = RowStream<W, 1, rows_of_warp>;
  Array<const float> x;
  Weights<W> q;
  Weights<W> k;
  Weights<W> v;
  const float* q_bias = nullptr;
  const float* k_bias = nullptr;
  const float* v_bias = nullptr;
  Position<Device::cuda> position = 0;
  const float* inverse_frequencies = nullptr;
  float* queries = nullptr;  // (heads * head_dim)
  Cache keys;
  Cache values;

  Geometry geometry() const {
    return {divide_up((q.rows + k.rows + v.rows) / 2, warps), max_threads, Stream::Planes::words};
  }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t all = (q.rows + k.rows + v.rows) / 2;
    index_t pair = exec.block() * warps + exec.warp();
    const bool is_there = pair < all;
    if (!is_there) pair = all - 1;
    const int which = pair < q.rows / 2 ? 0 : pair < (q.rows + k.rows) / 2 ? 1 : 2;
    const Weights<W>& w = which == 0 ? q : which == 1 ? k : v;
    pair -= which == 0 ? 0 : which == 1 ? q.rows / 2 : (q.rows + k.rows) / 2;
    const index_t half = keys.head_dim / 2, head = pair / half, i = pair % half;
    const index_t row = head * keys.head_dim + i;
    Stream stream;
    stream.rows[0] = {w.row(row), exec.lane()};
    stream.rows[1] = {w.row(row + half), exec.lane()};
    stream.run(exec, x, is_there);
    float low = exec.group_sum(stream.sums[0][0], 32), high = exec.group_sum(stream.sums[1][0], 32);
    if (!is_there || exec.lane() != 0) return;
    if constexpr (CodecOf<W>::scales_rows) {
      low *= w.scale(exec, row);
      high *= w.scale(exec, row + half);
    }
    const float* bias = which == 0 ? q_bias : which == 1 ? k_bias : v_bias;
    if (bias != nullptr) {
      low += bias[row];
      high += bias[row + half];
    }
    const index_t at = value_of(position);
    if (which < 2) rotate(exec, static_cast<float>(at) * inverse_frequencies[i], low, high);
    float* to = which == 0 ? queries + head * keys.head_dim : (which == 1 ? keys : values).row(head, at);
    to[i] = low;
    to[i + half] = high;
  }
};

}  // namespace hack::kernels::cuda

#define HACK_HEAD_PROJECTION_KERNELS_OF(X, W) X(ProjectHeads<W>)
#define HACK_HEAD_PROJECTION_KERNELS(X) HACK_FOR_EACH_CODEC(HACK_HEAD_PROJECTION_KERNELS_OF, X)
