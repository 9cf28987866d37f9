#include "kernels/cpu/linear/int8_dot.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#define HACK_SIMD_UP_TO_AVX2
#include "kernels/cpu/simd.hpp"

#include "kernels/cpu/memory/scratch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear/int8_dot.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/codec/code_dot-inl.hpp"
#include "kernels/cpu/codec/codecs-inl.hpp"
#include "kernels/cpu/linear/round_tokens-inl.hpp"
#include "kernels/cpu/linear/row_groups-inl.hpp"
#include "kernels/cpu/linear/row_reader-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

#if HACK_HAS_CODE_DOT

/// Factors of a step: one of each 32 numbers, or two.
template <class C>
constexpr index_t step_factors = has_half_scales<C> ? 2 : C::dot_blocks;

/// The factors of a step's lanes: of all, or of two halves.
template <index_t Count>
HWY_INLINE __m256 lanes_of(const float* factors) {
  if constexpr (Count == 1) return _mm256_broadcast_ss(factors);
  const __m256 pair = _mm256_castpd_ps(_mm256_broadcast_sd(reinterpret_cast<const double*>(factors)));
  return _mm256_permutevar_ps(pair, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

/// Partial sums of R rows for T tokens, in as many chains each.
template <index_t T, index_t R, index_t Chains, class C>
class RowSums {
 public:
  HWY_INLINE explicit RowSums(const RoundedTokens& x) : x_(x) {
#pragma GCC unroll 8
    for (index_t i = 0; i < Chains * T * R; ++i)
      sums_[i % Chains][i / Chains % T][i / Chains / T] = _mm256_setzero_ps();
  }

  /// Adds `steps` steps from block b on, the first of a scale group.
  HWY_INLINE void add(const RowPointers<R>& rows, index_t b, index_t steps) {
    alignas(32) Factors factors;
    const index_t at = b / C::dot_blocks * RowBytes<C>::step_codes;
#pragma GCC unroll 4
    for (index_t r = 0; r < R; ++r) {
      if constexpr (!scales_rows<C>) take_scales(rows.scales[r], b, r, factors);
      prefetch_ahead(rows.codes[r] + at, steps * RowBytes<C>::step_codes);
    }
    constexpr index_t all = scale_group / C::dot_blocks;
    if (steps == all) {
#pragma GCC unroll 8
      for (index_t s = 0; s < all; ++s) add_step(rows, factors, b, s, sums_[s % Chains]);
    } else {
#pragma GCC unroll 1
      for (index_t s = 0; s < steps; ++s) add_step(rows, factors, b, s, sums_[0]);
    }
  }

  /// out[t][first + r] = the sums of row r.
  HWY_INLINE void store(__m256 (&out)[T][rows_at_once], index_t first) const {
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) {
#pragma GCC unroll 4
      for (index_t r = 0; r < R; ++r) {
        out[t][first + r] = Chains == 1 ? sums_[0][t][r] : _mm256_add_ps(sums_[0][t][r], sums_[Chains - 1][t][r]);
      }
    }
  }

 private:
  /// Of a scale group.
  using Factors = float[T][R][scale_group / C::dot_blocks * step_factors<C>];

  /// factors = d of w times d of x; what minima add to all numbers of a block joins the sums.
  HWY_INLINE void take_scales(const std::byte* scales, index_t b, index_t r, Factors& factors) {
    __m256 minima;  // or the scales of the last four blocks' halves
    const __m256 d = C::load_scales(scales + b / scale_group * RowBytes<C>::group_scales, minima);
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) {
      const index_t at = t * x_.blocks + b;
      __m256& sum = sums_[Chains - 1][t][r];
      const __m256 of_x = _mm256_loadu_ps(x_.scales + at);
      if constexpr (has_half_scales<C>) {
        const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
        const __m256 last = _mm256_permute2f128_ps(of_x, of_x, 1);
        _mm256_store_ps(factors[t][r], _mm256_mul_ps(d, _mm256_permutevar8x32_ps(of_x, twice)));
        _mm256_store_ps(factors[t][r] + 8, _mm256_mul_ps(minima, _mm256_permutevar8x32_ps(last, twice)));
      } else {
        _mm256_store_ps(factors[t][r], _mm256_mul_ps(d, of_x));
      }
      if constexpr (C::has_minima) sum = _mm256_fmadd_ps(minima, _mm256_loadu_ps(x_.sums + at), sum);
    }
  }

  HWY_INLINE void add_step(const RowPointers<R>& rows, const Factors& factors, index_t b, index_t s,
                           __m256 (&sums)[T][R]) {
    const index_t block = s * C::dot_blocks;
    const index_t codes = (b + block) / C::dot_blocks * RowBytes<C>::step_codes;
    const bool rest = has_rest(b + block);
#pragma GCC unroll 4
    for (index_t r = 0; r < R; ++r) {
      const auto loaded = C::load_codes(rows.codes[r] + codes);
#pragma GCC unroll 4
      for (index_t t = 0; t < T; ++t) {
        const index_t at = t * x_.blocks + b + block;
        const __m256i dot = C::dot(loaded, x_.codes + at * rounded_block);
        const float* from = factors[t][r] + s * step_factors<C>;
        if constexpr (scales_rows<C>) from = x_.scales + at;
        const __m256 factor = lanes_of<step_factors<C>>(from);
        sums[t][r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), factor, sums[t][r]);
        if (rest) add_rest(C::dot(loaded, x_.rests + at * rounded_block), factor, sums[t][r]);
      }
    }
  }

  /// Whether one of the tokens has second codes in the step from block b on. The others have zeros there.
  HWY_INLINE bool has_rest(index_t b) const {
    std::uint8_t any = 0;
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) {
#pragma GCC unroll 2
      for (index_t k = 0; k < C::dot_blocks; ++k) any |= x_.has_rest[t * x_.blocks + b + k];
    }
    return any != 0;
  }

  HWY_INLINE static void add_rest(__m256i dot, __m256 factor, __m256& sum) {
    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(factor, _mm256_set1_ps(1 / rest_unit)), sum);
  }

  const RoundedTokens& x_;
  __m256 sums_[Chains][T][R];
};

template <index_t T, index_t R, index_t Chains, class C>
HWY_INLINE void dot_rows_together(const RoundedTokens& x, const RowPointers<R>& rows, __m256 (&out)[T][rows_at_once],
                                  index_t first) {
  RowSums<T, R, Chains, C> sums(x);
  for (index_t b = 0; b < x.used; b += scale_group) {
    const index_t blocks = std::min(scale_group, x.used - b);
    sums.add(rows, b, (blocks + C::dot_blocks - 1) / C::dot_blocks);
  }
  sums.store(out, first);
}

/// The sums of the lanes of four vectors.
HWY_INLINE void sum_lanes(const __m256 (&v)[rows_at_once], float* out) {
  const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
  _mm_store_ps(out, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}

/// Rows of w are taken R at a time.
template <index_t T, index_t R, index_t Chains, class C>
void dot_tokens(const RoundedTokens& x, const WeightView<>& w, MatrixView<float> y, bool add, Scratch& last_rows) {
  const RowReader<C> reader(w, rows_at_once, last_rows);
  const auto dot = [&](const index_t(&rows)[rows_at_once], __m256(&out)[T][rows_at_once]) HACK_INLINE_LAMBDA {
#pragma GCC unroll 4
    for (index_t first = 0; first < rows_at_once; first += R) {
      dot_rows_together<T, R, Chains, C>(x, reader.template rows<R>(rows + first), out, first);
    }
  };
  dot_rows<T, C, __m256>(w, y, add, dot,
                         [](const __m256(&v)[rows_at_once], float* out) HACK_INLINE_LAMBDA { sum_lanes(v, out); });
}

template <class C>
void dot_all(MatrixView<const float> x, const WeightView<>& w, MatrixView<float> y, bool add, Scratch& tokens,
             Scratch& last_rows) {
  const RoundedTokens all = round_tokens<C>(x, tokens);
  // Four short rows side by side share loads of x, and what follows a row's sums does not wait for each alone: 1.3
  // times the rate in rows of 128 bytes. Long ones come one after the other; side by side, in rows of 576 bytes, they
  // were read at two thirds of the rate. The way depends on the length alone, so that more tokens do not change a sum's
  // bits.
  constexpr index_t short_row = 256;  // bytes
  const bool together = code_bytes(C::codec, w.ld) <= short_row;
  for_few_tokens(x.rows, y.cols, [&]<index_t T>(index_t t, index_t i, index_t rows) HWY_ATTR {
    const auto some = w.rows_from(i, rows);
    const auto to = y.block(t, i, T, rows);
    if (together) {
      dot_tokens<T, T == 1 ? rows_at_once : T == 2 ? 2 : 1, 1, C>(all.from(t), some, to, add, last_rows);
    } else {
      dot_tokens<T, 1, 2, C>(all.from(t), some, to, add, last_rows);
    }
  });
}

/// False, and nothing done, where the codec is not one of these; y may have no rows.
bool int8_product(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, bool add, Scratch& tokens,
                  Scratch& last_rows) {
  return with_dot_codec(w.codec, [&]<class C>(C) HWY_ATTR {
    if (y.rows > 0) dot_all<C>(x, w, y, add, tokens, last_rows);
  });
}

#else

bool int8_product(MatrixView<const float>, WeightView<>, MatrixView<float>, bool, Scratch&, Scratch&) { return false; }

#endif  // HACK_HAS_CODE_DOT

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {
namespace {

HWY_EXPORT(int8_product);

thread_local Scratch tokens;     // x, rounded
thread_local Scratch last_rows;  // rows of w with room behind them

}  // namespace

bool has_int8_dot(Codec codec) {
  return HWY_DYNAMIC_DISPATCH(int8_product)({}, {.codec = codec}, {}, false, tokens, last_rows);
}

void multiply_few_int8(MatrixView<const float> x, WeightView<> w, MatrixView<float> y, Write write) {
  HACK_EXPECT(x.rows > 0);
  HWY_DYNAMIC_DISPATCH(int8_product)(x, w, y, write == Write::add, tokens, last_rows);
}

}  // namespace hack::kernels
#endif
