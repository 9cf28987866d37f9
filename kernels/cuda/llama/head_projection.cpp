#include "kernels/head_projection.hpp"

#include "kernels/cuda/llama/head_projection.cuh"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;

cuda::Cache view_of_cache(const CacheView<D>& cache) { return {cache.data, cache.capacity, cache.head_dim}; }

}  // namespace

template <>
bool project_heads<D>(Queue<D>& queue, MatrixView<const float, D> x, const HeadProjection<D>& projection,
                      MatrixView<float, D> queries) {
  const auto& [q, k, v, position, frequencies, keys, values] = projection;
  const bool is_plain = !q.is_factored() && !k.is_factored() && !v.is_factored() && q.dense.codec == k.dense.codec &&
                        q.dense.codec == v.dense.codec;
  if (x.rows != 1 || !is_plain || q.rows() == 0 || k.rows() == 0) return false;
  HACK_EXPECT(queries.rows == 1 && queries.cols == q.rows() && keys.head_dim % 2 == 0);
  HACK_EXPECT(k.rows() == keys.kv_heads * keys.head_dim && v.rows() == values.kv_heads * values.head_dim);
  bool is_done = false;
  cuda::with_codec(q.dense.codec, [&]<class W>() {
    using Kernel = cuda::ProjectHeads<W>;
    const auto input = cuda::array_of(x);
    const auto of_q = cuda::weights_of<W>(q.dense), of_k = cuda::weights_of<W>(k.dense),
               of_v = cuda::weights_of<W>(v.dense);
    using Stream = typename Kernel::Stream;
    if (!Stream::takes(input, of_q) || !Stream::takes(input, of_k) || !Stream::takes(input, of_v)) return;
    cuda::launch(queue, Kernel{input, of_q, of_k, of_v, q.bias, k.bias, v.bias, position, frequencies, queries.data,
                               view_of_cache(keys), view_of_cache(values)});
    is_done = true;
  });
  return is_done;
}

}  // namespace hack::kernels
