#include "kernels/cpu/linear/row_math.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear/row_math.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/cpu/codec/codecs-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;
constexpr index_t lanes = hn::MaxLanes(Floats());

/// A vector of from[0 … n), padded; n < lanes.
HWY_INLINE Vector load_first(const float* from, index_t n, float padding) {
  HWY_ALIGN float copy[lanes];
  for (index_t i = 0; i < lanes; ++i) copy[i] = i < n ? from[i] : padding;
  return hn::Load(Floats(), copy);
}

HWY_INLINE void store_first(Vector v, float* to, index_t n) {
  HWY_ALIGN float copy[lanes];
  hn::Store(v, Floats(), copy);
  for (index_t i = 0; i < n; ++i) to[i] = copy[i];
}

float max_of_row(const float* x, index_t n) {
  const Floats d;
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  Vector largest = hn::Set(d, lowest);
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) largest = hn::Max(largest, hn::LoadU(d, x + i));
  if (i < n) largest = hn::Max(largest, load_first(x + i, n - i, lowest));
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

/// exp with NaN kept, which Exp takes for a number below its range.
HWY_INLINE Vector exp_or_nan(Vector x) {
  const Floats d;
  return hn::IfThenElse(hn::Eq(x, x), hn::Exp(d, x), x);
}

float exp_of_row(float* x, index_t n, float scale, float shift) {
  const Floats d;
  const Vector factor = hn::Set(d, scale);
  const Vector offset = hn::Set(d, shift);
  Vector sum = hn::Zero(d);
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const Vector e = exp_or_nan(hn::MulSub(factor, hn::LoadU(d, x + i), offset));
    hn::StoreU(e, d, x + i);
    sum = hn::Add(sum, e);
  }
  if (i < n) {
    const Vector e = exp_or_nan(hn::MulSub(factor, load_first(x + i, n - i, 0), offset));
    store_first(e, x + i, n - i);
    sum = hn::Add(sum, load_first(x + i, n - i, 0));
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

float squares_of_row(const float* x, index_t n) {
  const Floats d;
  Vector sums[2] = {hn::Zero(d), hn::Zero(d)};
  index_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const Vector a = hn::LoadU(d, x + i);
    const Vector b = hn::LoadU(d, x + i + lanes);
    sums[0] = hn::MulAdd(a, a, sums[0]);
    sums[1] = hn::MulAdd(b, b, sums[1]);
  }
  for (; i < n; i += lanes) {
    const Vector a = load_first(x + i, std::min(lanes, n - i), 0);
    sums[0] = hn::MulAdd(a, a, sums[0]);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sums[0], sums[1])));
}

HWY_INLINE Vector silu(Vector a) {
  const Floats d;
  // Beyond 104 Exp's range ends; exp is infinite long before and silu(a) the -0 that a / infinity is.
  const Vector power = hn::Exp(d, hn::Min(hn::Neg(a), hn::Set(d, 104.0f)));
  return hn::Div(a, hn::Add(hn::Set(d, 1.0f), power));
}

void silu_of_row(float* gate, const float* up, index_t n) {
  const Floats d;
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(silu(hn::LoadU(d, gate + i)), hn::LoadU(d, up + i)), d, gate + i);
  }
  if (i < n) {
    const Vector product = hn::Mul(silu(load_first(gate + i, n - i, 0)), load_first(up + i, n - i, 0));
    store_first(product, gate + i, n - i);
  }
}

void weigh_row(const float* x, float factor, const float* weight, float* y, index_t n) {
  const Floats d;
  const Vector scale = hn::Set(d, factor);
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), scale), hn::LoadU(d, weight + i)), d, y + i);
  }
  for (; i < n; ++i) y[i] = x[i] * factor * weight[i];
}

void scaled_columns(MatrixView<const float> from, const float* scale, MatrixView<float> to) {
  const Floats d;
  for (index_t t = 0; t < to.rows; ++t) {
    const float* x = from.row(t);
    float* y = to.row(t);
    index_t i = 0;
    for (; i + lanes <= to.cols; i += lanes) {
      hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, scale + i)), d, y + i);
    }
    for (; i < to.cols; ++i) y[i] = x[i] * scale[i];
  }
}

void weighted_rows(const float* weights, const float* rows, index_t ld, index_t n, float* y, index_t cols) {
  const Floats d;
  index_t i = 0;
  for (; i + 4 * lanes <= cols; i += 4 * lanes) {
    Vector sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for (index_t j = 0; j < n; ++j) {
      const Vector weight = hn::Set(d, weights[j]);
#pragma GCC unroll 4
      for (index_t c = 0; c < 4; ++c)
        sums[c] = hn::MulAdd(weight, hn::LoadU(d, rows + j * ld + i + c * lanes), sums[c]);
    }
    for (index_t c = 0; c < 4; ++c) hn::StoreU(sums[c], d, y + i + c * lanes);
  }
  for (; i + lanes <= cols; i += lanes) {
    Vector sum = hn::Zero(d);
    for (index_t j = 0; j < n; ++j) sum = hn::MulAdd(hn::Set(d, weights[j]), hn::LoadU(d, rows + j * ld + i), sum);
    hn::StoreU(sum, d, y + i);
  }
  for (; i < cols; ++i) {
    float sum = 0;
    for (index_t j = 0; j < n; ++j) sum += weights[j] * rows[j * ld + i];
    y[i] = sum;
  }
}

void widen_codes(Codec codec, const std::byte* row, const std::byte* scales, index_t first, index_t n, float* to) {
  with_codec(codec, [&]<class C>(C) HWY_ATTR { C::widen(row, scales, first, n, to); });
}

void narrow_to_bf16(const float* from, bf16* to, index_t n) {
  const hn::ScalableTag<std::uint32_t> d;
  const hn::Rebind<std::uint16_t, decltype(d)> half;
  const auto magnitude = hn::Set(d, 0x7fffffffu);
  const auto infinity = hn::Set(d, 0x7f800000u);
  const auto one = hn::Set(d, 1u);
  const auto below_half = hn::Set(d, 0x7fffu);
  const auto quiet = hn::Set(d, 0x40u);
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto bits = hn::BitCast(d, hn::LoadU(Floats(), from + i));
    const auto upper = hn::ShiftRight<16>(bits);
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(below_half, hn::And(upper, one))));
    const auto nan = hn::Gt(hn::And(bits, magnitude), infinity);
    const auto chosen = hn::IfThenElse(nan, hn::Or(upper, quiet), rounded);
    const hn::RebindToSigned<decltype(d)> as_signed;  // all below 2^16: the saturating conversion is exact
    hn::StoreU(hn::DemoteTo(half, hn::BitCast(as_signed, chosen)), half, reinterpret_cast<std::uint16_t*>(to + i));
  }
  for (; i < n; ++i) to[i] = to_bf16(from[i]);
}

void narrow_to_f16(const float* from, f16* to, index_t n) {
  index_t i = 0;
#if HWY_TARGET <= HWY_AVX2 || HWY_TARGET == HWY_NEON
  const hn::Rebind<hwy::float16_t, Floats> half;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::DemoteTo(half, hn::LoadU(Floats(), from + i)), half, reinterpret_cast<hwy::float16_t*>(to + i));
  }
#endif
  for (; i < n; ++i) to[i] = to_f16(from[i]);
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {

HWY_EXPORT(max_of_row);
HWY_EXPORT(exp_of_row);
HWY_EXPORT(squares_of_row);
HWY_EXPORT(silu_of_row);
HWY_EXPORT(weigh_row);
HWY_EXPORT(scaled_columns);
HWY_EXPORT(weighted_rows);
HWY_EXPORT(widen_codes);
HWY_EXPORT(narrow_to_bf16);
HWY_EXPORT(narrow_to_f16);

float maximum(const float* x, index_t n) { return HWY_DYNAMIC_DISPATCH(max_of_row)(x, n); }

float exp_and_sum(float* x, index_t n, float scale, float shift) {
  return HWY_DYNAMIC_DISPATCH(exp_of_row)(x, n, scale, shift);
}

float sum_of_squares(const float* x, index_t n) { return HWY_DYNAMIC_DISPATCH(squares_of_row)(x, n); }

void silu_multiply(float* gate, const float* up, index_t n) { HWY_DYNAMIC_DISPATCH(silu_of_row)(gate, up, n); }

void scale_and_weigh(const float* x, float factor, const float* weight, float* y, index_t n) {
  HWY_DYNAMIC_DISPATCH(weigh_row)(x, factor, weight, y, n);
}

void scale_columns(MatrixView<const float> from, const float* scale, MatrixView<float> to) {
  HWY_DYNAMIC_DISPATCH(scaled_columns)(from, scale, to);
}

void weighted_sum(const float* weights, const float* rows, index_t ld, index_t n, float* y, index_t cols) {
  HWY_DYNAMIC_DISPATCH(weighted_rows)(weights, rows, ld, n, y, cols);
}

void widen(const void* from, DType type, float* to, index_t n) {
  HWY_DYNAMIC_DISPATCH(widen_codes)(codec_of(type), static_cast<const std::byte*>(from), nullptr, 0, n, to);
}
void widen_row(const WeightView<>& w, index_t row, index_t first, index_t n, float* to) {
  HWY_DYNAMIC_DISPATCH(widen_codes)(w.codec, w.row(row), w.row_scales(row), first, n, to);
}

void narrow(const float* from, bf16* to, index_t n) { HWY_DYNAMIC_DISPATCH(narrow_to_bf16)(from, to, n); }
void narrow(const float* from, f16* to, index_t n) { HWY_DYNAMIC_DISPATCH(narrow_to_f16)(from, to, n); }

}  // namespace hack::kernels
#endif
