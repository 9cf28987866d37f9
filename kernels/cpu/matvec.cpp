#include "kernels/cpu/matvec.hpp"

#include <algorithm>
#include <cstdint>

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

/// What all rows of w share: x (T, k) and its last lanes with those that a full vector has already counted set to 0.
template <index_t T>
struct Tokens {
  const float* rows[T];
  Vector tails[T];
  index_t k;
};

/// Asks for as many bytes as one step over R rows takes, some kilobytes ahead, into L2. R rows read side by side look
/// random to the hardware's prefetcher, which besides stops at each page: bf16 then runs at 60 % of the bandwidth.
template <index_t R, class W>
HWY_INLINE void prefetch_ahead(const W* w, index_t p) {
  constexpr index_t line = 64;
  constexpr index_t distance = 8192;
  const auto from = reinterpret_cast<std::uintptr_t>(w) + distance + R * p * sizeof(W);
#pragma GCC unroll 8
  for (index_t byte = 0; byte < R * lanes * static_cast<index_t>(sizeof(W)); byte += line) {
    __builtin_prefetch(reinterpret_cast<const void*>(from + byte), 0, 2);
  }
}

/// y (T, R) = or += x (T, k) w (R, k)ᵀ. One chain of sums for each element: R * T chains hide the latency.
template <index_t R, index_t T, class W>
void dot_rows(const Tokens<T>& x, const W* HWY_RESTRICT w, index_t ldw, float* HWY_RESTRICT y, index_t ldy, bool add) {
  const Floats d;
  Vector sums[T][R];
  for (index_t t = 0; t < T; ++t) {
    for (index_t r = 0; r < R; ++r) sums[t][r] = hn::Zero(d);
  }
  index_t p = 0;
  for (; p + lanes <= x.k; p += lanes) {
    if constexpr (R > 1) prefetch_ahead<R>(w, p);
    Vector factors[T];
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) factors[t] = hn::LoadU(d, x.rows[t] + p);
#pragma GCC unroll 8
    for (index_t r = 0; r < R; ++r) {
      const Vector weights = load(d, w + r * ldw + p);
#pragma GCC unroll 4
      for (index_t t = 0; t < T; ++t) sums[t][r] = hn::MulAdd(weights, factors[t], sums[t][r]);
    }
  }
  if (p < x.k) {
#pragma GCC unroll 8
    for (index_t r = 0; r < R; ++r) {
      const Vector weights = load(d, w + r * ldw + x.k - lanes);
#pragma GCC unroll 4
      for (index_t t = 0; t < T; ++t) sums[t][r] = hn::MulAdd(weights, x.tails[t], sums[t][r]);
    }
  }
  for (index_t t = 0; t < T; ++t) {
    for (index_t r = 0; r < R; ++r) {
      const float sum = hn::GetLane(hn::SumOfLanes(d, sums[t][r]));
      y[t * ldy + r] = add ? y[t * ldy + r] + sum : sum;
    }
  }
}

template <index_t T, class W>
void dot_tokens(MatrixView<const float> x, const W* w, index_t ldw, MatrixView<float> y, bool add) {
  const Floats d;
  constexpr index_t rows_at_once = 4;
  Tokens<T> tokens;
  tokens.k = x.cols;
  const index_t left = x.cols % lanes;
  const auto counted = hn::Lt(hn::Iota(d, 0), hn::Set(d, static_cast<float>(lanes - left)));
  for (index_t t = 0; t < T; ++t) {
    tokens.rows[t] = x.row(t);
    tokens.tails[t] = hn::IfThenZeroElse(counted, hn::LoadU(d, x.row(t) + x.cols - lanes));
  }
  index_t i = 0;
  for (; i + rows_at_once <= y.cols; i += rows_at_once) {
    dot_rows<rows_at_once, T>(tokens, w + i * ldw, ldw, &y(0, i), y.ld, add);
  }
  for (; i < y.cols; ++i) dot_rows<1, T>(tokens, w + i * ldw, ldw, &y(0, i), y.ld, add);
}

/// Rows shorter than a vector.
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
void dot_all(MatrixView<const float> x, const W* w, index_t ldw, MatrixView<float> y, bool add) {
  if (x.cols < lanes) return dot_short(x, w, ldw, y, add);
  // Beyond four tokens w is read again, from L2: hence blocks of its rows.
  constexpr index_t rows_in_cache = 64;
  for (index_t i = 0; i < y.cols; i += rows_in_cache) {
    const index_t rows = std::min(rows_in_cache, y.cols - i);
    for (index_t t = 0; t < x.rows;) {
      const index_t count = std::min<index_t>(4, x.rows - t);
      const MatrixView<const float> some = x.rows_from(t, count);
      const MatrixView<float> out = y.block(t, i, count, rows);
      switch (count) {
        case 1:
          dot_tokens<1>(some, w + i * ldw, ldw, out, add);
          break;
        case 2:
          dot_tokens<2>(some, w + i * ldw, ldw, out, add);
          break;
        case 3:
          dot_tokens<3>(some, w + i * ldw, ldw, out, add);
          break;
        default:
          dot_tokens<4>(some, w + i * ldw, ldw, out, add);
          break;
      }
      t += count;
    }
  }
}

void few_rows_product(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, bool add) {
  with_pointer(w.data, w.type, [&](const auto* data) HWY_ATTR { dot_all(x, data, w.ld, y, add); });
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {

HWY_EXPORT(few_rows_product);

void multiply_few(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write) {
  HWY_DYNAMIC_DISPATCH(few_rows_product)(x, w, y, write == Write::add);
}

}  // namespace hack::kernels
#endif
