// One-thread matrix products. OpenBLAS is not used for them: 0.3.21 takes an Emerald Rapids (model 207) for a Prescott
// and runs there at a fifth of its speed, it cannot widen bf16 while it packs, and it promises nothing about the bits
// of a result when the shape of a block changes.

#include "kernels/cpu/linear/gemm.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/cpu/linear/panel_walk.hpp"
#include "kernels/cpu/linear/row_math.hpp"
#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/cpu/simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear/gemm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/codec/codecs-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

constexpr index_t lanes = hn::MaxLanes(Floats());
constexpr index_t tile_cols = 2 * lanes;
// Accumulators, two vectors of the packed operand and one broadcast fill the 32 or 16 registers.
#if HWY_TARGET <= HWY_AVX3  // or one of its successors
constexpr index_t tile_rows = 14;
#else
constexpr index_t tile_rows = 6;
#endif
static_assert(gemm_panel % tile_cols == 0);
static_assert(tile_rows <= max_tile_rows && tile_cols <= max_tile_cols);

/// c (R, tile_cols) = or += a (R, k) b (k, tile_cols); a with row_stride, b packed.
template <index_t R>
void multiply_tile(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, index_t k, float* HWY_RESTRICT c,
                   index_t ldc, bool add) {
  const Floats d;
  Vector sums[R][2];
#pragma GCC unroll 16
  for (index_t r = 0; r < R; ++r) {
    sums[r][0] = sums[r][1] = hn::Zero(d);
    __builtin_prefetch(c + r * ldc, 1);
    __builtin_prefetch(c + r * ldc + lanes, 1);
  }
  for (index_t p = 0; p < k; ++p) {
    const Vector left = hn::Load(d, b + p * tile_cols);
    const Vector right = hn::Load(d, b + p * tile_cols + lanes);
#pragma GCC unroll 16
    for (index_t r = 0; r < R; ++r) {
      const Vector factor = hn::Set(d, a[r * row_stride + p]);
      sums[r][0] = hn::MulAdd(factor, left, sums[r][0]);
      sums[r][1] = hn::MulAdd(factor, right, sums[r][1]);
    }
  }
#pragma GCC unroll 16
  for (index_t r = 0; r < R; ++r) {
    float* row = c + r * ldc;
    if (add) {
      sums[r][0] = hn::Add(hn::LoadU(d, row), sums[r][0]);
      sums[r][1] = hn::Add(hn::LoadU(d, row + lanes), sums[r][1]);
    }
    hn::StoreU(sums[r][0], d, row);
    hn::StoreU(sums[r][1], d, row + lanes);
  }
}

template <std::size_t... R>
constexpr std::array<MicroKernel::Multiply, tile_rows> tile_functions(std::index_sequence<R...>) {
  return {&multiply_tile<static_cast<index_t>(R) + 1>...};
}
constexpr auto multiply_rows = tile_functions(std::make_index_sequence<tile_rows>());  // [R - 1]

constexpr MicroKernel micro_kernel{tile_rows, tile_cols, 1, 1, multiply_rows.data()};

/// packed[p][i] = rows[i][p] for i < n, zero up to tile_cols; rows (n, k) in plain codec C with leading dimension ld.
template <class C>
void pack_rows(const typename C::Number* rows, index_t ld, index_t n, index_t k, float* HWY_RESTRICT packed) {
  index_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; i + 4 <= n; i += 4) {  // blocks of 4 x 4 are transposed in registers
    const hn::Full128<float> d;
    const hn::Repartition<double, decltype(d)> pairs;
    index_t p = 0;
    for (; p + 4 <= k; p += 4) {
      if (p % 16 == 0) {  // the rows of the next tile
        for (index_t r = 0; r < 4; ++r) __builtin_prefetch(rows + (tile_cols + i + r) * ld + p);
      }
      const auto r0 = C::load(d, rows + i * ld + p);
      const auto r1 = C::load(d, rows + (i + 1) * ld + p);
      const auto r2 = C::load(d, rows + (i + 2) * ld + p);
      const auto r3 = C::load(d, rows + (i + 3) * ld + p);
      const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
      const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
      const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
      const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
      float* to = packed + p * tile_cols + i;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), d, to);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), d, to + tile_cols);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), d, to + 2 * tile_cols);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), d, to + 3 * tile_cols);
    }
    for (; p < k; ++p) {
      for (index_t r = 0; r < 4; ++r) packed[p * tile_cols + i + r] = to_float(rows[(i + r) * ld + p]);
    }
  }
#endif
  for (; i < n; ++i) {
    for (index_t p = 0; p < k; ++p) packed[p * tile_cols + i] = to_float(rows[i * ld + p]);
  }
  for (; i < tile_cols; ++i) {
    for (index_t p = 0; p < k; ++p) packed[p * tile_cols + i] = 0;
  }
}

/// packed[p][i] = rows[p][i] for i < n, zero up to tile_cols; rows (k, n) with leading dimension ld.
void pack_cols(const float* rows, index_t ld, index_t n, index_t k, float* HWY_RESTRICT packed) {
  for (index_t p = 0; p < k; ++p) {
    std::copy_n(rows + p * ld, n, packed + p * tile_cols);
    std::fill_n(packed + p * tile_cols + n, tile_cols - n, 0.0f);
  }
}

/// Of codecs with scales, panels of w are widened before they are packed.
void scaled_product(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write,
                    PanelScratch& scratch) {
  walk_panels(micro_kernel, x, y, write, scratch, [&](index_t j, index_t n, index_t p, index_t k, float* to) HWY_ATTR {
    float* wide = scratch.widened(tile_cols, k);
    for (index_t i = 0; i < n; ++i) widen_row(w, j + i, p, k, wide + i * k);
    pack_rows<F32Codec>(wide, k, n, k, to);
  });
}

void transposed_product(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write,
                        PanelScratch& scratch) {
  if (has_scales(w.codec)) return scaled_product(x, w, y, write, scratch);
  with_row_codec(w.codec, [&]<class C>(C) HWY_ATTR {
    const auto* numbers = static_cast<const typename C::Number*>(w.data);
    walk_panels(micro_kernel, x, y, write, scratch,
                [&](index_t j, index_t n, index_t p, index_t k, float* to)
                    HWY_ATTR { pack_rows<C>(numbers + j * w.ld + p, w.ld, n, k, to); });
  });
}

void plain_product(MatrixView<const float> x, MatrixView<const float> b, MatrixView<float> y, Write write,
                   PanelScratch& scratch) {
  walk_panels(micro_kernel, x, y, write, scratch, [&](index_t j, index_t n, index_t p, index_t k, float* to) HWY_ATTR {
    pack_cols(b.data + p * b.ld + j, b.ld, n, k, to);
  });
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {
namespace {

HWY_EXPORT(transposed_product);
HWY_EXPORT(plain_product);

thread_local PanelScratch panel_scratch;

}  // namespace

bool finish_empty(index_t depth, MatrixView<float> y, Write write) {
  if (depth > 0 && y.rows > 0 && y.cols > 0) return false;
  if (write == Write::replace) {
    for (index_t i = 0; i < y.rows; ++i) std::fill_n(y.row(i), y.cols, 0.0f);
  }
  return true;
}

void multiply_transposed(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write) {
  if (finish_empty(x.cols, y, write)) return;
  HWY_DYNAMIC_DISPATCH(transposed_product)(x, w, y, write, panel_scratch);
}

void multiply(MatrixView<const float> x, MatrixView<const float> b, MatrixView<float> y, Write write) {
  if (finish_empty(x.cols, y, write)) return;
  HWY_DYNAMIC_DISPATCH(plain_product)(x, b, y, write, panel_scratch);
}

TaskShape task_shape(index_t tokens, index_t outputs, int threads) {
  constexpr index_t tasks_per_thread = 4;
  TaskShape shape{512, gemm_panel};
  const auto tasks = [&] {
    return ((tokens + shape.tokens - 1) / shape.tokens) * ((outputs + shape.outputs - 1) / shape.outputs);
  };
  if (threads == 1) return shape;
  while (shape.tokens > 128 && tasks() < tasks_per_thread * threads) shape.tokens /= 2;
  while (shape.outputs > gemm_panel / 12 && tasks() < tasks_per_thread * threads) shape.outputs -= gemm_panel / 12;
  return shape;
}

}  // namespace hack::kernels
#endif
