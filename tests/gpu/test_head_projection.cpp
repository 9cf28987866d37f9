// Queries, keys and values of one token in one launch: the bits of the separate operations.

#include <gtest/gtest.h>

#include "kernels/elementwise.hpp"
#include "kernels/head_projection.hpp"
#include "tests/gpu/device_data.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

using tests::DeviceMatrix;
using tests::DeviceWeights;
using tests::in_several_orders;
using tests::random_floats;
using tests::RandomWeights;

constexpr Device G = Device::cuda;
constexpr index_t head_dim = 6, heads = 5, kv_heads = 2, capacity = 4, at = 3;

/// What there is after a projection: queries, then both caches.
std::vector<float> found(DeviceMatrix<>& queries, DeviceMatrix<>& keys, DeviceMatrix<>& values) {
  std::vector<float> all = queries.host();
  for (const DeviceMatrix<>* cache : {&keys, &values}) {
    const std::vector<float> numbers = cache->host();
    // Of each head the position that was written; nothing else was.
    for (index_t h = 0; h < kv_heads; ++h) {
      const auto row = numbers.begin() + (h * capacity + at) * head_dim;
      all.insert(all.end(), row, row + head_dim);
      EXPECT_TRUE(std::isnan(*(row - 1)));
    }
  }
  return all;
}

void check(Codec codec, index_t cols, bool has_bias, bool by_state) {
  SCOPED_TRACE(testing::Message() << to_string(codec) << ", " << cols << " columns, bias " << has_bias);
  const RandomWeights q(heads * head_dim, cols, codec, 1), k(kv_heads * head_dim, cols, codec, 2);
  const RandomWeights v(kv_heads * head_dim, cols, codec, 3);
  const DeviceWeights q_there(q.view), k_there(k.view), v_there(v.view);
  const std::vector<float> x = random_floats(cols, 4), bias = random_floats(heads * head_dim, 5);
  const DeviceMatrix<> x_there(x, 1, cols), bias_there(bias, 1, heads * head_dim);
  const std::vector<float> frequencies = {1.0f, 0.3f, 0.001f};
  const DeviceMatrix<> frequencies_there(frequencies, 1, head_dim / 2);
  const DecodeState host_state{.position = at};
  const Buffer<DecodeState, G> state = to_device<G>(&host_state, 1);
  const auto run = [&](bool together) {
    DeviceMatrix<> queries(1, heads * head_dim), k_row(1, kv_heads * head_dim), v_row(1, kv_heads * head_dim);
    DeviceMatrix<> keys(kv_heads * capacity, head_dim), values(kv_heads * capacity, head_dim);
    const float* added = has_bias ? bias_there.data() : nullptr;
    const HeadProjection<G> projection{{q_there.view(), {}, added},
                                       {k_there.view(), {}, added},
                                       {v_there.view(), {}, added},
                                       by_state ? Position<G>(state.data()) : Position<G>(at),
                                       frequencies_there.data(),
                                       {keys.view().data, kv_heads, capacity, head_dim},
                                       {values.view().data, kv_heads, capacity, head_dim}};
    Queue<G> queue(1);
    if (together) {
      EXPECT_TRUE(project_heads<G>(queue, x_there.in(), projection, queries.view()));
    } else {
      affine<G>(queue, x_there.in(), projection.q, queries.view());
      affine<G>(queue, x_there.in(), projection.k, k_row.view());
      affine<G>(queue, x_there.in(), projection.v, v_row.view());
      rope<G>(queue, head_dim, projection.position, frequencies_there.data(), queries.view());
      rope<G>(queue, head_dim, projection.position, frequencies_there.data(), k_row.view());
      append_to_cache<G>(queue, k_row.in(), projection.position, projection.keys);
      append_to_cache<G>(queue, v_row.in(), projection.position, projection.values);
    }
    queue.wait();
    return found(queries, keys, values);
  };
  in_several_orders([&] { EXPECT_EQ(run(true), run(false)); });
}

TEST(GpuHeadProjection, HasTheBitsOfSeparateOperations) {
  for (Codec codec : tests::all_codecs()) check(codec, 528, true, false);
  check(Codec::bf16, 64, false, true);
}

TEST(GpuHeadProjection, LeavesOddShapesAndManyTokens) {
  const RandomWeights w(kv_heads * head_dim, 70, DType::bf16, 1);
  const DeviceWeights there(w.view);
  DeviceMatrix<> x(2, 70), queries(2, kv_heads * head_dim), keys(kv_heads * capacity, head_dim);
  const CacheView<G> cache{keys.view().data, kv_heads, capacity, head_dim};
  const AffineView<G> view{there.view(), {}, nullptr};
  Queue<G> queue(1);
  const HeadProjection<G> projection{view, view, view, 0, nullptr, cache, cache};
  EXPECT_FALSE(project_heads<G>(queue, x.in(), projection, queries.view()));
  EXPECT_FALSE(project_heads<G>(queue, x.in().rows_from(0, 1), projection, queries.view().rows_from(0, 1)));
}

/// A token's numbers do not depend on how many stand beside it.
TEST(GpuLinear, GivesATokenTheSameBitsBesideOthers) {
  for (const Codec codec : {Codec::f32, Codec::bf16, Codec::int8, Codec::q4_0}) {
    const index_t rows = 9, cols = 2576;
    const RandomWeights w(rows, cols, codec, 1);
    const DeviceWeights there(w.view);
    const std::vector<float> x = random_floats(5 * cols, 2);
    const DeviceMatrix<> x_there(x, 5, cols);
    DeviceMatrix<> together(5, rows), alone(5, rows);
    Queue<G> queue(1);
    linear<G>(queue, x_there.in(), there.view(), together.view());
    for (index_t t = 0; t < 5; ++t) {
      linear<G>(queue, x_there.in().rows_from(t, 1), there.view(), alone.view().rows_from(t, 1));
    }
    queue.wait();
    EXPECT_EQ(together.host(), alone.host()) << to_string(codec);
  }
}

}  // namespace
}  // namespace hack::kernels
