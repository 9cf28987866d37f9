#include "kernels/cpu/linear/matvec.hpp"

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/linear/row_math.hpp"
#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/cpu/simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear/matvec.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/codec/codecs-inl.hpp"
#include "kernels/cpu/linear/row_groups-inl.hpp"

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

/// Rows of w in codec C, as they lie in memory.
template <class C>
struct Rows {
  const std::byte* codes = nullptr;
  const std::byte* scales = nullptr;
  index_t ld = 0;

  HWY_INLINE const std::byte* row(index_t i) const { return codes + i * code_bytes(C::codec, ld); }
  HWY_INLINE const std::byte* row_scales(index_t i) const { return scales + i * scale_bytes(C::codec, ld); }
  HWY_INLINE Rows from(index_t i) const { return {row(i), row_scales(i), ld}; }
};

/// Bytes of the codes of n numbers in codec C.
template <class C>
constexpr index_t bytes_of(index_t n) {
  return n * spec_of(C::codec).code_bits / 8;
}

/// Arranges x (T, k), k >= step, in `room` of x.rows * round_up(k, step) numbers. Where x is
/// as it should be it stays where it is.
template <class C>
Tokens arrange(MatrixView<const float> x, float* room) {
  const index_t full = x.cols / step;
  const index_t steps = (x.cols + step - 1) / step;
  if (C::place(1, lanes) == 1 && steps == full) return {x.data, x.ld, steps, x.cols - step};
  for (index_t t = 0; t < x.rows; ++t) {
    float* to = room + t * steps * step;
    for (index_t s = 0; s < full; ++s) {
      for (index_t i = 0; i < step; ++i) to[s * step + C::place(i, lanes)] = x(t, s * step + i);
    }
    if (steps == full) continue;
    const index_t first = x.cols - step;
    for (index_t i = 0; i < step; ++i) {
      const bool is_new = first + i >= full * step;
      to[full * step + C::place(i, lanes)] = is_new ? x(t, first + i) : 0;
    }
  }
  return {room, steps * step, steps, x.cols - step};
}

/// Partial sums, lane by lane, of x (T, k) · row i of w (k). Rows are read one after the other, as they lie in memory:
/// read side by side they look random to the hardware's prefetcher, and a core reads at half of its bandwidth.
template <index_t T, class C>
HWY_INLINE void dot_row(const Tokens& x, const Rows<C>& w, index_t i, Vector (&out)[T]) {
  const Floats d;
  const std::byte* HWY_RESTRICT row = w.row(i);
  const std::byte* HWY_RESTRICT scales = w.row_scales(i);
  Vector sums[T][2];
#pragma GCC unroll 4
  for (index_t t = 0; t < T; ++t) sums[t][0] = sums[t][1] = hn::Zero(d);
  const auto add_step = [&](index_t s, index_t at) HACK_INLINE_LAMBDA {
    Vector first, second;
    C::load_step(d, row, scales, at, first, second);
    const float* factors = x.rows + s * step;
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) {
      sums[t][0] = hn::MulAdd(first, hn::LoadU(d, factors + t * x.stride), sums[t][0]);
      sums[t][1] = hn::MulAdd(second, hn::LoadU(d, factors + t * x.stride + lanes), sums[t][1]);
    }
  };
  // Of narrow codes several steps to a half line, which is asked for once.
  constexpr index_t group = std::max<index_t>(1, 32 / std::max<index_t>(1, bytes_of<C>(step)));
  index_t s = 0;
  for (; group > 1 && s + group <= x.steps && (s + group - 1) * step <= x.last; s += group) {
    prefetch_ahead(row + bytes_of<C>(s * step), bytes_of<C>(group * step));
#pragma GCC unroll 4
    for (index_t g = 0; g < group; ++g) add_step(s + g, (s + g) * step);
  }
  for (; s < x.steps; ++s) {
    const index_t at = std::min(s * step, x.last);
    prefetch_ahead(row + bytes_of<C>(at), bytes_of<C>(step));
    add_step(s, at);
  }
#pragma GCC unroll 4
  for (index_t t = 0; t < T; ++t) out[t] = hn::Add(sums[t][0], sums[t][1]);
}

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

/// dot_rows() of these vectors, where dot(row, out) makes the sums of one row.
template <index_t T, class C, class Dot>
HWY_INLINE void dot_vectors(const Rows<C>& w, MatrixView<float> y, bool add, const Dot& dot) {
  const auto one_by_one = [&](const index_t(&rows)[rows_at_once], Vector(&out)[T][rows_at_once]) HACK_INLINE_LAMBDA {
#pragma GCC unroll 4
    for (index_t r = 0; r < rows_at_once; ++r) {
      Vector of_row[T];
      dot(rows[r], of_row);
#pragma GCC unroll 4
      for (index_t t = 0; t < T; ++t) out[t][r] = of_row[t];
    }
  };
  dot_rows<T, C, Vector>(w, y, add, one_by_one,
                         [](const Vector(&v)[rows_at_once], float* out) HACK_INLINE_LAMBDA { sum_lanes(v, out); });
}

template <index_t T, class C>
void dot_long(const Tokens& x, const Rows<C>& w, MatrixView<float> y, bool add) {
  dot_vectors<T>(w, y, add, [&](index_t i, Vector(&out)[T]) HACK_INLINE_LAMBDA { dot_row<T>(x, w, i, out); });
}

/// Rows shorter than a step but not than a vector: two loads, the second of which overlaps the first.
template <index_t T, class C>
void dot_short(MatrixView<const float> x, const Rows<C>& w, MatrixView<float> y, bool add) {
  const Floats d;
  const index_t last = x.cols - lanes;
  const auto counted = hn::Lt(hn::Iota(d, 0), hn::Set(d, static_cast<float>(lanes - last)));
  Vector first[T], second[T];
  for (index_t t = 0; t < T; ++t) {
    first[t] = hn::LoadU(d, x.row(t));
    second[t] = hn::IfThenZeroElse(counted, hn::LoadU(d, x.row(t) + last));
  }
  dot_vectors<T>(w, y, add, [&](index_t i, Vector(&out)[T]) HACK_INLINE_LAMBDA {
    const std::byte* row = w.row(i);
    prefetch_ahead(row, bytes_of<C>(lanes));
    const Vector left = C::load_at(d, row, 0), right = C::load_at(d, row, last);
    for (index_t t = 0; t < T; ++t) out[t] = hn::MulAdd(right, second[t], hn::Mul(left, first[t]));
  });
}

/// Rows shorter than a vector, which is loaded with what follows the row; of the last rows from a copy.
template <index_t T, class C>
void dot_tiny(MatrixView<const float> x, const Rows<C>& w, MatrixView<float> y, bool add) {
  const Floats d;
  const index_t numbers = (y.cols - 1) * w.ld + x.cols;
  const auto inside = hn::Lt(hn::Iota(d, 0), hn::Set(d, static_cast<float>(x.cols)));
  Vector factors[T];
  for (index_t t = 0; t < T; ++t) {
    HWY_ALIGN float copy[lanes] = {};
    std::copy_n(x.row(t), x.cols, copy);
    factors[t] = hn::Load(d, copy);
  }
  dot_vectors<T>(w, y, add, [&](index_t i, Vector(&out)[T]) HACK_INLINE_LAMBDA {
    std::byte copy[bytes_of<C>(lanes)] = {};
    const std::byte* row = w.row(i);
    if (i * w.ld + lanes > numbers) {
      std::copy_n(row, bytes_of<C>(x.cols), copy);
      row = copy;
    }
    const Vector weights = hn::IfThenElseZero(inside, C::load_at(d, row, 0));
    for (index_t t = 0; t < T; ++t) out[t] = hn::Mul(weights, factors[t]);
  });
}

template <index_t T, class C>
void dot_tokens(MatrixView<const float> x, const Tokens& arranged, const Rows<C>& w, MatrixView<float> y, bool add) {
  if (x.cols >= step) {
    dot_long<T>(arranged, w, y, add);
  } else if (x.cols >= lanes) {
    dot_short<T>(x, w, y, add);
  } else {
    dot_tiny<T>(x, w, y, add);
  }
}

template <class C>
void dot_all(MatrixView<const float> x, const Rows<C>& w, MatrixView<float> y, bool add, Scratch& room) {
  const bool is_long = x.cols >= step;
  const Tokens all = is_long ? arrange<C>(x, room.get(x.rows * (x.cols + step))) : Tokens{};
  for_few_tokens(x.rows, y.cols, [&]<index_t T>(index_t t, index_t i, index_t rows) HWY_ATTR {
    const Tokens arranged{all.rows + t * all.stride, all.stride, all.steps, all.last};
    dot_tokens<T>(x.rows_from(t, T), arranged, w.from(i), y.block(t, i, T, rows), add);
  });
}

void few_rows_product(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, bool add, Scratch& room) {
  with_row_codec(w.codec, [&]<class C>(C) HWY_ATTR {
    dot_all(x, Rows<C>{static_cast<const std::byte*>(w.data), w.scales, w.ld}, y, add, room);
  });
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {

HWY_EXPORT(few_rows_product);

namespace {
thread_local Scratch arranged;  // x, as rows of w are read
thread_local Scratch widened;   // some rows of w

/// Of codecs with blocks, some rows at a time are widened first: exact, and slower than multiply_few_int8().
void multiply_widened(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, bool add) {
  constexpr index_t panel = 16;
  float* wide = widened.get(panel * w.cols);
  for (index_t i = 0; i < w.rows; i += panel) {
    const index_t rows = std::min(panel, w.rows - i);
    for (index_t r = 0; r < rows; ++r) widen_row(w, i + r, 0, w.cols, wide + r * w.cols);
    HWY_DYNAMIC_DISPATCH(few_rows_product)
    (x, {wide, Codec::f32, rows, w.cols, w.cols}, y.block(0, i, y.rows, rows), add, arranged);
  }
}

}  // namespace

void multiply_few(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write) {
  const bool add = write == Write::add;
  if (spec_of(w.codec).block > 0) return multiply_widened(x, w, y, add);
  HWY_DYNAMIC_DISPATCH(few_rows_product)(x, w, y, add, arranged);
}

}  // namespace hack::kernels
#endif
