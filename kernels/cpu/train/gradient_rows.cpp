#include "kernels/cpu/train/gradient_rows.hpp"

#include <algorithm>

#include "kernels/cpu/simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/train/gradient_rows.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;
constexpr index_t lanes = hn::MaxLanes(Floats());

/// A vector of from[0 … n), zeros beyond.
HWY_INLINE Vector load_up_to(const float* from, index_t n) {
  if (HWY_LIKELY(n >= lanes)) return hn::LoadU(Floats(), from);
  HWY_ALIGN float copy[lanes] = {};
  std::copy_n(from, n, copy);
  return hn::Load(Floats(), copy);
}

HWY_INLINE void store_up_to(Vector v, float* to, index_t n) {
  if (HWY_LIKELY(n >= lanes)) return hn::StoreU(v, Floats(), to);
  HWY_ALIGN float copy[lanes];
  hn::Store(v, Floats(), copy);
  std::copy_n(copy, n, to);
}

/// 1 + exp(-a), the inverse of a's sigmoid. Beyond 104 Exp's range ends; the sum is infinite long before.
HWY_INLINE Vector inverse_sigmoid(Vector a) {
  const Floats d;
  return hn::Add(hn::Set(d, 1.0f), hn::Exp(d, hn::Min(hn::Neg(a), hn::Set(d, 104.0f))));
}

void silu_product_of_row(const float* gate, const float* up, float* out, index_t n) {
  for (index_t i = 0; i < n; i += lanes) {
    const Vector a = load_up_to(gate + i, n - i);
    store_up_to(hn::Mul(hn::Div(a, inverse_sigmoid(a)), load_up_to(up + i, n - i)), out + i, n - i);
  }
}

void silu_gradient_of_row(const float* dout, float* gate, float* up, index_t n) {
  const Floats d;
  const Vector one = hn::Set(d, 1.0f);
  for (index_t i = 0; i < n; i += lanes) {
    const Vector a = load_up_to(gate + i, n - i);
    const Vector dy = load_up_to(dout + i, n - i);
    const Vector s = hn::Div(one, inverse_sigmoid(a));
    const Vector slope = hn::Mul(s, hn::MulAdd(a, hn::Sub(one, s), one));
    store_up_to(hn::Mul(hn::Mul(dy, load_up_to(up + i, n - i)), slope), gate + i, n - i);
    store_up_to(hn::Mul(dy, hn::Mul(a, s)), up + i, n - i);
  }
}

float difference_of_row(const float* target, float factor, float* y, index_t n) {
  const Floats d;
  const Vector scale = hn::Set(d, factor);
  Vector sum = hn::Zero(d);
  for (index_t i = 0; i < n; i += lanes) {
    const Vector difference = hn::Sub(load_up_to(y + i, n - i), load_up_to(target + i, n - i));
    sum = hn::MulAdd(difference, difference, sum);
    store_up_to(hn::Mul(scale, difference), y + i, n - i);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void adam_of_row(const AdamFactors& step, const float* gradient, float* mean, float* square, float* x, index_t n) {
  const Floats d;
  const Vector rate = hn::Set(d, step.rate);
  const Vector root_scale = hn::Set(d, step.root_scale);
  const Vector epsilon = hn::Set(d, step.epsilon);
  const Vector mean_decay = hn::Set(d, step.mean_decay);
  const Vector mean_gain = hn::Set(d, step.mean_gain);
  const Vector square_decay = hn::Set(d, step.square_decay);
  const Vector square_gain = hn::Set(d, step.square_gain);
  for (index_t i = 0; i < n; i += lanes) {
    const index_t left = n - i;
    const Vector g = load_up_to(gradient + i, left);
    const Vector next_m = hn::MulAdd(mean_decay, load_up_to(mean + i, left), hn::Mul(mean_gain, g));
    const Vector next_v = hn::MulAdd(square_decay, load_up_to(square + i, left), hn::Mul(square_gain, hn::Mul(g, g)));
    const Vector step_size = hn::Div(hn::Mul(rate, next_m), hn::MulAdd(root_scale, hn::Sqrt(next_v), epsilon));
    store_up_to(next_m, mean + i, left);
    store_up_to(next_v, square + i, left);
    store_up_to(hn::Sub(load_up_to(x + i, left), step_size), x + i, left);
  }
}

/// Writes x (m, n) transposed, m and n at most a cache line's numbers.
HWY_INLINE void transpose_block(MatrixView<const float> x, MatrixView<float> out) {
  index_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::Full128<float> d;
  const hn::Repartition<double, decltype(d)> pairs;
  for (; i + 4 <= x.rows; i += 4) {
    index_t j = 0;
    for (; j + 4 <= x.cols; j += 4) {
      const auto r0 = hn::LoadU(d, &x(i, j));
      const auto r1 = hn::LoadU(d, &x(i + 1, j));
      const auto r2 = hn::LoadU(d, &x(i + 2, j));
      const auto r3 = hn::LoadU(d, &x(i + 3, j));
      const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
      const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
      const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
      const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), d, &out(j, i));
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), d, &out(j + 1, i));
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), d, &out(j + 2, i));
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), d, &out(j + 3, i));
    }
    for (; j < x.cols; ++j) {
      for (index_t r = 0; r < 4; ++r) out(j, i + r) = x(i + r, j);
    }
  }
#endif
  for (; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) out(j, i) = x(i, j);
  }
}

void transpose_matrix(MatrixView<const float> x, MatrixView<float> out) {
  constexpr index_t block = 16;  // a cache line of x and one of out
  for (index_t j = 0; j < x.cols; j += block) {
    const index_t cols = std::min(block, x.cols - j);
    for (index_t i = 0; i < x.rows; i += block) {
      const index_t rows = std::min(block, x.rows - i);
      transpose_block(x.block(i, j, rows, cols), out.block(j, i, cols, rows));
    }
  }
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {

HWY_EXPORT(silu_product_of_row);
HWY_EXPORT(silu_gradient_of_row);
HWY_EXPORT(difference_of_row);
HWY_EXPORT(adam_of_row);
HWY_EXPORT(transpose_matrix);

void silu_product(const float* gate, const float* up, float* out, index_t n) {
  HWY_DYNAMIC_DISPATCH(silu_product_of_row)(gate, up, out, n);
}

void silu_product_gradient(const float* dout, float* gate, float* up, index_t n) {
  HWY_DYNAMIC_DISPATCH(silu_gradient_of_row)(dout, gate, up, n);
}

float scaled_difference(const float* target, float factor, float* y, index_t n) {
  return HWY_DYNAMIC_DISPATCH(difference_of_row)(target, factor, y, n);
}

void adam_update(const AdamFactors& step, const float* gradient, float* mean, float* square, float* x, index_t n) {
  HWY_DYNAMIC_DISPATCH(adam_of_row)(step, gradient, mean, square, x, n);
}

void transpose(MatrixView<const float> x, MatrixView<float> out) { HWY_DYNAMIC_DISPATCH(transpose_matrix)(x, out); }

}  // namespace hack::kernels
#endif
