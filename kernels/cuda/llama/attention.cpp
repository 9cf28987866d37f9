#include "kernels/attention.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/llama/attention.cuh"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using cuda::array_of;

cuda::Cache cache_of(const CacheView<D>& cache) { return {cache.data, cache.capacity, cache.head_dim}; }

/// What the kernels for one and for many queries have in common.
struct Call {
  cuda::HeadMap heads{};
  index_t head_count;
  cuda::Array<const float> q;
  cuda::Cache keys, values;
  Position<D> position;
  cuda::Array<float> out;
  index_t window;
  float scale;
};

void attend_one(Queue<D>& queue, const Call& call) {
  const bool is_known = call.position.state == nullptr;
  cuda::AttendPart kernel{call.heads,
                          call.head_count,
                          call.q,
                          call.keys,
                          call.values,
                          call.position,
                          is_known ? call.position.first + 1 : call.keys.capacity,
                          call.window,
                          call.scale};
  const index_t dim = call.keys.head_dim, parts = kernel.part_count();
  kernel.parts =
      queue.resources().workspace<float>(cuda::Workspace::attention_parts, call.head_count * parts * (dim + 2));
  cuda::launch(queue, kernel);
  cuda::launch(queue,
               cuda::MergeParts{kernel.parts, call.head_count, parts, call.position, call.window, dim, call.out.data});
}

template <int MaxDim>
void attend_many(Queue<D>& queue, const Call& call) {
  cuda::launch(queue, cuda::AttendBlock<MaxDim>{call.heads, call.head_count, call.q, call.keys, call.values,
                                                call.position.first, call.window, call.scale, call.out});
}

}  // namespace

template <>
void append_to_cache<D>(Queue<D>& queue, MatrixView<const float, D> rows, Position<D> position, CacheView<D> cache) {
  HACK_EXPECT(rows.cols == cache.kv_heads * cache.head_dim);
  HACK_EXPECT(position.state != nullptr || (position.first >= 0 && position.first + rows.rows <= cache.capacity));
  cuda::launch(queue, cuda::AppendToCache{array_of(rows), position, cache_of(cache)});
}

template <>
void attention<D>(Queue<D>& queue, MatrixView<const float, D> q, CacheView<D> keys, CacheView<D> values,
                  std::span<const int> kv_of_head, Position<D> position, MatrixView<float, D> out) {
  const index_t dim = keys.head_dim;
  HACK_EXPECT(q.cols == std::ssize(kv_of_head) * dim && out.cols == q.cols && out.rows == q.rows);
  HACK_EXPECT(dim == values.head_dim && position.first >= 0 && (position.state == nullptr || q.rows <= 1));
  HACK_EXPECT(position.first + q.rows <= std::min(keys.capacity, values.capacity));
  validate(dim <= 256 && std::ssize(kv_of_head) <= cuda::HeadMap::most,
           "{} heads of {} numbers on one GPU (at most {} of 256); use more ranks or compute on CPUs",
           std::ssize(kv_of_head), dim, cuda::HeadMap::most);
  if (q.rows == 0 || q.cols == 0) return;
  Call call{{},
            std::ssize(kv_of_head),
            array_of(q),
            cache_of(keys),
            cache_of(values),
            position,
            array_of(out),
            keys.window,
            keys.score_factor / std::sqrt(static_cast<float>(dim))};
  std::copy(kv_of_head.begin(), kv_of_head.end(), call.heads.kv);
  if (q.rows == 1) {
    attend_one(queue, call);
  } else if (dim <= 64) {
    attend_many<64>(queue, call);
  } else if (dim <= 128) {
    attend_many<128>(queue, call);
  } else {
    attend_many<256>(queue, call);
  }
}

}  // namespace hack::kernels
