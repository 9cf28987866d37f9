#include "kernels/cpu/linear/matvec.hpp"

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/cpu/simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear/matvec.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/codec/widen-inl.hpp"

// A lambda that is compiled into the loop that calls it: else every row's sums would go through memory.
#undef HACK_INLINE_LAMBDA
#define HACK_INLINE_LAMBDA HWY_ATTR __attribute__((always_inline))

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
  const float* rows = nullptr;  // (T, steps * step)
  index_t stride = 0;           // steps * step
  index_t steps = 0;            // full ones and, if any, the overlapping one
  index_t last = 0;             // number at which the last step starts
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

/// Asks for the lines of a step that is a page further on: a core has more reads on their way then than the hardware's
/// prefetcher gives it, which moreover stops at a page's end.
template <index_t Numbers, class W>
HWY_INLINE void prefetch_ahead(const W* w) {
  constexpr index_t ahead = 4096, line = 64;
  const char* from = reinterpret_cast<const char*>(w) + ahead;
  for (index_t i = 0; i < Numbers * static_cast<index_t>(sizeof(W)); i += line) __builtin_prefetch(from + i);
}

/// Partial sums, lane by lane, of x (T, k) · w (k). Rows are read one after the other, as they lie in memory: read side
/// by side they look random to the hardware's prefetcher, and a core reads at half of its bandwidth.
template <index_t T, class W>
HWY_INLINE void dot_row(const Tokens& x, const W* HWY_RESTRICT w, Vector (&out)[T]) {
  const Floats d;
  Vector sums[T][2];
#pragma GCC unroll 4
  for (index_t t = 0; t < T; ++t) sums[t][0] = sums[t][1] = hn::Zero(d);
  for (index_t s = 0; s < x.steps; ++s) {
    const W* weights = w + std::min(s * step, x.last);
    prefetch_ahead<step>(weights);
    Vector first, second;
    load_step(weights, first, second);
    const float* factors = x.rows + s * step;
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) {
      sums[t][0] = hn::MulAdd(first, hn::LoadU(d, factors + t * x.stride), sums[t][0]);
      sums[t][1] = hn::MulAdd(second, hn::LoadU(d, factors + t * x.stride + lanes), sums[t][1]);
    }
  }
#pragma GCC unroll 4
  for (index_t t = 0; t < T; ++t) out[t] = hn::Add(sums[t][0], sums[t][1]);
}

constexpr index_t rows_at_once = 4;

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void sum_lanes(const Vector (&v)[rows_at_once], float* out) {
  for (index_t r = 0; r < rows_at_once; ++r) out[r] = hn::GetLane(v[r]);
}
#else
template <class D>
HWY_INLINE auto sum_blocks(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    return sum_blocks(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
    (void)d;
    return v;
  }
}

/// The sums of the lanes of four vectors: their lanes are interleaved while they are added.
HWY_INLINE void sum_lanes(const Vector (&v)[rows_at_once], float* out) {
  const Floats d;
  const hn::Repartition<double, Floats> pairs;
  const Vector low = hn::Add(hn::InterleaveLower(d, v[0], v[1]), hn::InterleaveUpper(d, v[0], v[1]));
  const Vector high = hn::Add(hn::InterleaveLower(d, v[2], v[3]), hn::InterleaveUpper(d, v[2], v[3]));
  const auto low_pairs = hn::BitCast(pairs, low), high_pairs = hn::BitCast(pairs, high);
  const Vector all = hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, low_pairs, high_pairs)),
                             hn::BitCast(d, hn::InterleaveUpper(pairs, low_pairs, high_pairs)));
  hn::StoreU(sum_blocks(d, all), hn::Full128<float>(), out);
}
#endif

/// y (T, rows) = or += x wᵀ, where dot(row, out) makes the partial sums of a row for T tokens.
template <index_t T, class Dot>
HWY_INLINE void dot_rows(MatrixView<float> y, bool add, const Dot& dot) {
  for (index_t i = 0; i < y.cols; i += rows_at_once) {
    const index_t rows = std::min(rows_at_once, y.cols - i);
    Vector sums[T][rows_at_once];
#pragma GCC unroll 4
    for (index_t r = 0; r < rows_at_once; ++r) {
      Vector of_row[T];
      dot(i + std::min(r, rows - 1), of_row);
#pragma GCC unroll 4
      for (index_t t = 0; t < T; ++t) sums[t][r] = of_row[t];
    }
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) {
      HWY_ALIGN float out[rows_at_once];
      sum_lanes(sums[t], out);
      float* to = &y(t, i);
      for (index_t r = 0; r < rows; ++r) to[r] = add ? to[r] + out[r] : out[r];
    }
  }
}

template <index_t T, class W>
void dot_long(const Tokens& x, const W* w, index_t ldw, MatrixView<float> y, bool add) {
  dot_rows<T>(y, add, [&](index_t i, Vector(&out)[T]) HACK_INLINE_LAMBDA { dot_row<T>(x, w + i * ldw, out); });
}

/// Rows shorter than a step but not than a vector: two loads, the second of which overlaps the first.
template <index_t T, class W>
void dot_short(MatrixView<const float> x, const W* w, index_t ldw, MatrixView<float> y, bool add) {
  const Floats d;
  const index_t last = x.cols - lanes;
  const auto counted = hn::Lt(hn::Iota(d, 0), hn::Set(d, static_cast<float>(lanes - last)));
  Vector first[T], second[T];
  for (index_t t = 0; t < T; ++t) {
    first[t] = hn::LoadU(d, x.row(t));
    second[t] = hn::IfThenZeroElse(counted, hn::LoadU(d, x.row(t) + last));
  }
  dot_rows<T>(y, add, [&](index_t i, Vector(&out)[T]) HACK_INLINE_LAMBDA {
    const W* row = w + i * ldw;
    prefetch_ahead<lanes>(row);
    const Vector left = load(d, row), right = load(d, row + last);
    for (index_t t = 0; t < T; ++t) out[t] = hn::MulAdd(right, second[t], hn::Mul(left, first[t]));
  });
}

/// Rows shorter than a vector, which is loaded with what follows the row; of the last rows from a copy.
template <index_t T, class W>
void dot_tiny(MatrixView<const float> x, const W* w, index_t ldw, MatrixView<float> y, bool add) {
  const Floats d;
  const index_t numbers = (y.cols - 1) * ldw + x.cols;
  const auto inside = hn::Lt(hn::Iota(d, 0), hn::Set(d, static_cast<float>(x.cols)));
  Vector factors[T];
  for (index_t t = 0; t < T; ++t) {
    HWY_ALIGN float copy[lanes] = {};
    std::copy_n(x.row(t), x.cols, copy);
    factors[t] = hn::Load(d, copy);
  }
  dot_rows<T>(y, add, [&](index_t i, Vector(&out)[T]) HACK_INLINE_LAMBDA {
    W copy[lanes];
    const W* row = w + i * ldw;
    if (i * ldw + lanes > numbers) {
      std::copy_n(row, x.cols, copy);
      std::fill(copy + x.cols, copy + lanes, W{});
      row = copy;
    }
    const Vector weights = hn::IfThenElseZero(inside, load(d, row));
    for (index_t t = 0; t < T; ++t) out[t] = hn::Mul(weights, factors[t]);
  });
}

template <index_t T, class W>
void dot_tokens(MatrixView<const float> x, const Tokens& arranged, const W* w, index_t ldw, MatrixView<float> y,
                bool add) {
  if (x.cols >= step) {
    dot_long<T>(arranged, w, ldw, y, add);
  } else if (x.cols >= lanes) {
    dot_short<T>(x, w, ldw, y, add);
  } else {
    dot_tiny<T>(x, w, ldw, y, add);
  }
}

template <class W>
void dot_all(MatrixView<const float> x, const W* w, index_t ldw, MatrixView<float> y, bool add, Scratch& room) {
  const Tokens all = x.cols < step ? Tokens{} : arrange<W>(x, room.get(x.rows * (x.cols + step)));
  // Beyond four tokens w is read again, from L2: hence blocks of its rows.
  const index_t block = x.rows <= 4 ? y.cols : 64;
  for (index_t i = 0; i < y.cols; i += block) {
    const index_t rows = std::min(block, y.cols - i);
    for (index_t t = 0; t < x.rows;) {
      const index_t count = std::min<index_t>(4, x.rows - t);
      const MatrixView<const float> some = x.rows_from(t, count);
      const Tokens arranged{all.rows + t * all.stride, all.stride, all.steps, all.last};
      const MatrixView<float> out = y.block(t, i, count, rows);
      switch (count) {
        case 1:
          dot_tokens<1>(some, arranged, w + i * ldw, ldw, out, add);
          break;
        case 2:
          dot_tokens<2>(some, arranged, w + i * ldw, ldw, out, add);
          break;
        case 3:
          dot_tokens<3>(some, arranged, w + i * ldw, ldw, out, add);
          break;
        default:
          dot_tokens<4>(some, arranged, w + i * ldw, ldw, out, add);
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
