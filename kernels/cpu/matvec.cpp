#include "kernels/cpu/matvec.hpp"

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/scratch.hpp"
#include "kernels/cpu/simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matvec.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/widen-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;
constexpr index_t lanes = hn::MaxLanes(Floats());

/// Numbers of a step over a row: two vectors, each with a chain of sums of its own.
constexpr index_t step = 2 * lanes;

/// What all rows of w share: x as rows are loaded, step after step. A row whose length is no multiple of a step is read
/// to its end by a last step that overlaps the one before it; there x is zero where it has been counted already.
struct Tokens {
  const float* rows;  // (T, steps * step)
  index_t stride;     // steps * step
  index_t steps;      // full ones and, if any, the overlapping one
  index_t last;       // number at which the last step starts
};

/// Loads two vectors of weights. Those of f32 and f16 are neighbours; of bf16, which has no instruction to widen it,
/// one load gives the numbers at even places, by a shift, and those at odd places, by a mask.
template <class W>
HWY_INLINE void load_step(const W* w, Vector& first, Vector& second) {
  const Floats d;
  first = load(d, w);
  second = load(d, w + lanes);
}

#if HWY_TARGET != HWY_SCALAR
HWY_INLINE void load_step(const bf16* w, Vector& first, Vector& second) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> whole;
  const hn::Repartition<std::uint16_t, Floats> half;
  const auto pairs = hn::BitCast(whole, hn::LoadU(half, reinterpret_cast<const std::uint16_t*>(w)));
  first = hn::BitCast(d, hn::ShiftLeft<16>(pairs));
  second = hn::BitCast(d, hn::And(pairs, hn::Set(whole, 0xffff0000u)));
}
#endif

/// Where load_step puts number i of a step.
template <class W>
constexpr index_t place(index_t i) {
  if constexpr (std::is_same_v<W, bf16> && HWY_TARGET != HWY_SCALAR) return i % 2 * lanes + i / 2;
  return i;
}

/// Arranges x (T, k), k >= step, in `room` of x.rows * round_up(k, step) numbers.
template <class W>
Tokens arrange(MatrixView<const float> x, float* room) {
  const index_t full = x.cols / step;
  const index_t steps = (x.cols + step - 1) / step;
  for (index_t t = 0; t < x.rows; ++t) {
    float* to = room + t * steps * step;
    for (index_t s = 0; s < full; ++s) {
      for (index_t i = 0; i < step; ++i) to[s * step + place<W>(i)] = x(t, s * step + i);
    }
    if (steps == full) continue;
    const index_t first = x.cols - step;
    for (index_t i = 0; i < step; ++i) to[full * step + place<W>(i)] = first + i < full * step ? 0 : x(t, first + i);
  }
  return {room, steps * step, steps, x.cols - step};
}

/// y (T) = or += x (T, k) · w (k). Rows are read one after the other, as they lie in memory: read side by side they
/// look random to the hardware's prefetcher, and a core reads at half of its bandwidth.
template <index_t T, class W>
HWY_INLINE void dot_row(const Tokens& x, const W* HWY_RESTRICT w, float* HWY_RESTRICT y, index_t ldy, bool add) {
  const Floats d;
  Vector sums[T][2];
#pragma GCC unroll 4
  for (index_t t = 0; t < T; ++t) sums[t][0] = sums[t][1] = hn::Zero(d);
  for (index_t s = 0; s < x.steps; ++s) {
    Vector first, second;
    load_step(w + std::min(s * step, x.last), first, second);
    const float* factors = x.rows + s * step;
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) {
      sums[t][0] = hn::MulAdd(first, hn::LoadU(d, factors + t * x.stride), sums[t][0]);
      sums[t][1] = hn::MulAdd(second, hn::LoadU(d, factors + t * x.stride + lanes), sums[t][1]);
    }
  }
#pragma GCC unroll 4
  for (index_t t = 0; t < T; ++t) {
    const float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sums[t][0], sums[t][1])));
    y[t * ldy] = add ? y[t * ldy] + sum : sum;
  }
}

template <index_t T, class W>
void dot_rows(const Tokens& x, const W* w, index_t ldw, MatrixView<float> y, bool add) {
  for (index_t i = 0; i < y.cols; ++i) dot_row<T>(x, w + i * ldw, &y(0, i), y.ld, add);
}

/// Rows shorter than a step.
template <class W>
void dot_short(MatrixView<const float> x, const W* w, index_t ldw, MatrixView<float> y, bool add) {
  for (index_t i = 0; i < y.cols; ++i) {
    for (index_t t = 0; t < x.rows; ++t) {
      float sum = 0;
      for (index_t p = 0; p < x.cols; ++p) sum += to_float(w[i * ldw + p]) * x(t, p);
      y(t, i) = add ? y(t, i) + sum : sum;
    }
  }
}

template <class W>
void dot_all(MatrixView<const float> x, const W* w, index_t ldw, MatrixView<float> y, bool add, Scratch& room) {
  if (x.cols < step) return dot_short(x, w, ldw, y, add);
  const Tokens all = arrange<W>(x, room.get(x.rows * (x.cols + step)));
  // Beyond four tokens w is read again, from L2: hence blocks of its rows.
  const index_t rows_in_cache = x.rows <= 4 ? y.cols : 64;
  for (index_t i = 0; i < y.cols; i += rows_in_cache) {
    const index_t rows = std::min(rows_in_cache, y.cols - i);
    for (index_t t = 0; t < x.rows;) {
      const index_t count = std::min<index_t>(4, x.rows - t);
      const Tokens some{all.rows + t * all.stride, all.stride, all.steps, all.last};
      const MatrixView<float> out = y.block(t, i, count, rows);
      switch (count) {
        case 1:
          dot_rows<1>(some, w + i * ldw, ldw, out, add);
          break;
        case 2:
          dot_rows<2>(some, w + i * ldw, ldw, out, add);
          break;
        case 3:
          dot_rows<3>(some, w + i * ldw, ldw, out, add);
          break;
        default:
          dot_rows<4>(some, w + i * ldw, ldw, out, add);
          break;
      }
      t += count;
    }
  }
}

void few_rows_product(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, bool add, Scratch& room) {
  with_pointer(w.data, w.type, [&](const auto* data) HWY_ATTR { dot_all(x, data, w.ld, y, add, room); });
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {

HWY_EXPORT(few_rows_product);

namespace {
thread_local Scratch arranged;  // x, as rows of w are read
}

void multiply_few(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write) {
  HWY_DYNAMIC_DISPATCH(few_rows_product)(x, w, y, write == Write::add, arranged);
}

}  // namespace hack::kernels
#endif
