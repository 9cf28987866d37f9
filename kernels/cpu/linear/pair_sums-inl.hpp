// Sums of rows whose codes come in pairs of blocks, with rounded tokens. Included once for each instruction set, hence
// the guard that toggles.

#if defined(HACK_KERNELS_CPU_LINEAR_PAIR_SUMS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_LINEAR_PAIR_SUMS_INL
#undef HACK_KERNELS_CPU_LINEAR_PAIR_SUMS_INL
#else
#define HACK_KERNELS_CPU_LINEAR_PAIR_SUMS_INL
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/linear/round_tokens-inl.hpp"
#include "kernels/cpu/linear/row_groups-inl.hpp"
#include "kernels/cpu/linear/row_reader-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

#if HACK_HAS_CODE_DOT

/// Whether codes of C are loaded two blocks at a time. Its dots then have lanes of the first block in their lower half
/// and lanes of the second in the upper one: 16 bits wide where sums of four products fit, else 32.
template <class C>
constexpr bool has_pairs = C::dot_blocks == 2;

/// Steps of a scale group.
constexpr index_t group_pairs = scale_group / 2;

/// Which sums fit lanes of 16 bits: dots, whose lanes are sums of four products, and sums of two and of four of those.
/// The first that do not are made of lanes of 32 bits.
template <class C>
struct FitWords {
  static constexpr int of_four = 4 * C::largest_code * 127, room = 32767;
  static constexpr bool dots = of_four <= room, twos = 2 * of_four <= room, fours = 4 * of_four <= room;
};

template <bool widens>
HWY_INLINE __m256i widen_sums(__m256i words) {
  return widens ? _mm256_madd_epi16(words, _mm256_set1_epi16(1)) : words;
}

template <bool words>
HWY_INLINE __m256i add_sums(__m256i a, __m256i b) {
  return words ? _mm256_add_epi16(a, b) : _mm256_add_epi32(a, b);
}

/// C::dot() in lanes of 32 bits.
template <class C, class Codes>
HWY_INLINE __m256i dot_lanes(const Codes& codes, const std::int8_t* x) {
  const __m256i dot = C::dot(codes, x);
  if constexpr (has_pairs<C>) return widen_sums<FitWords<C>::dots>(dot);
  return dot;
}

/// Lanes of two steps' dots, added up by twos, side by side.
template <class C>
HWY_INLINE __m256i join_steps(__m256i first, __m256i second) {
  using Fit = FitWords<C>;
  constexpr bool widens = Fit::dots && !Fit::twos;
  const __m256i a = widen_sums<widens>(first), b = widen_sums<widens>(second);
  return add_sums<Fit::twos>(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}

/// The dots of eight blocks, exact, from join_steps() of their steps: of blocks 0, 2, 4, 6 and 1, 3, 5, 7. That takes
/// fewer instructions than to multiply each step's lanes with scales of their own.
template <class C>
HWY_INLINE __m256 join_blocks(__m256i first, __m256i second) {
  using Fit = FitWords<C>;
  constexpr bool widens = Fit::twos && !Fit::fours;
  const __m256i a = widen_sums<widens>(first), b = widen_sums<widens>(second);
  const __m256i sums = add_sums<Fit::fours>(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
  return _mm256_cvtepi32_ps(widen_sums<Fit::fours>(sums));
}

/// Numbers of eight blocks in the order of join_blocks().
HWY_INLINE __m256 even_and_odd(__m256 of_blocks) {
  return _mm256_permutevar8x32_ps(of_blocks, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
}

/// Sums of rows for T tokens, one row at a time, each block's in one lane.
template <index_t T, class C>
class PairSums {
 public:
  HWY_INLINE PairSums(const RoundedTokens& x, float* factors) : x_(x), factors_(factors) {}

  /// out[t] = the partial sums of a row.
  HWY_INLINE void take(const RowPointers<1>& row, __m256 (&out)[T]) const {
    Sums sums;
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) sums.dots[t] = sums.minima[t] = _mm256_setzero_ps();
    const std::byte* codes = row.codes[0];
    const std::byte* scales = row.scales[0];
    index_t b = 0;
    for (; b + scale_group <= x_.used; b += scale_group) {
      add_group(codes, scales, b, group_pairs, sums);
      codes += group_pairs * step_codes;
      scales += RowBytes<C>::group_scales;
    }
    if (b < x_.used) add_group(codes, scales, b, (x_.used - b + 1) / 2, sums);
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) {
      add_rests(row.codes[0], t, sums.dots[t]);
      out[t] = C::has_minima ? _mm256_add_ps(sums.dots[t], sums.minima[t]) : sums.dots[t];
    }
  }

 private:
  static constexpr index_t step_codes = RowBytes<C>::step_codes, step_numbers = 2 * rounded_block;
  static constexpr index_t scales_ahead = 512;  // bytes, beside a page of q4_0 codes

  struct Sums {
    __m256 dots[T], minima[T];
  };

  /// Adds `steps` steps from block b on, the first of a scale group. Beyond them x is zero.
  HWY_INLINE void add_group(const std::byte* codes, const std::byte* scales, index_t b, index_t steps,
                            Sums& sums) const {
    __m256i joined[2][T];
#pragma GCC unroll 2
    for (index_t p = 0; p < 2; ++p) {
      const auto first = C::load_codes(codes + (2 * p < steps ? 2 * p : 0) * step_codes);
      const auto second = C::load_codes(codes + (2 * p + 1 < steps ? 2 * p + 1 : 0) * step_codes);
#pragma GCC unroll 4
      for (index_t t = 0; t < T; ++t) {
        const std::int8_t* x = x_.codes + (t * x_.blocks + b) * rounded_block + 2 * p * step_numbers;
        joined[p][t] = join_steps<C>(C::dot(first, x), C::dot(second, x + step_numbers));
      }
    }
    // After the loads: where a group's lines were asked for first, rows came from memory at 0.8 of the rate.
    asm volatile("" : "+r"(codes), "+x"(joined[1][0]));
    prefetch_ahead(codes, group_pairs * step_codes);
    prefetch_ahead(scales, RowBytes<C>::group_scales, scales_ahead);
    __m256 minima;
    const __m256 d = C::load_scales(scales, minima);
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) {
      const index_t at = t * x_.blocks + b;
      const __m256 factors = _mm256_mul_ps(d, _mm256_loadu_ps(x_.scales + at));
      _mm256_storeu_ps(factors_ + at, factors);
      const __m256 dots = join_blocks<C>(joined[0][t], joined[1][t]);
      sums.dots[t] = _mm256_fmadd_ps(dots, even_and_odd(factors), sums.dots[t]);
      if constexpr (C::has_minima) {
        sums.minima[t] = _mm256_fmadd_ps(minima, _mm256_loadu_ps(x_.sums + at), sums.minima[t]);
      }
    }
  }

  /// Adds what second codes of token t make of the row, four steps at a time wherever they are. A token's steps are
  /// its own, so that its sums do not depend on the others'.
  HWY_INLINE void add_rests(const std::byte* codes, index_t t, __m256& sum) const {
    const std::int32_t* steps = x_.rest_steps + t * x_.blocks;
    const std::int32_t count = x_.rest_counts[t];
    std::int32_t i = 0;
    for (; i + 4 <= count; i += 4) add_four_rests(codes, t, steps + i, 4, sum);
    if (i < count) add_four_rests(codes, t, steps + i, count - i, sum);
  }

  HWY_INLINE void add_four_rests(const std::byte* codes, index_t t, const std::int32_t* steps, std::int32_t count,
                                 __m256& sum) const {
    const std::int8_t* x = x_.rests + t * x_.blocks * rounded_block;
    __m256i dots[4];
    __m128d factors[4];  // of a step's two blocks
#pragma GCC unroll 4
    for (std::int32_t i = 0; i < 4; ++i) {
      const index_t step = steps[i < count ? i : 0];
      dots[i] = i < count ? C::dot(C::load_codes(codes + step * step_codes), x + step * step_numbers)
                          : _mm256_setzero_si256();
      factors[i] = _mm_load_sd(reinterpret_cast<const double*>(factors_ + t * x_.blocks + 2 * step));
    }
    const __m256d in_order =
        _mm256_set_m128d(_mm_unpacklo_pd(factors[2], factors[3]), _mm_unpacklo_pd(factors[0], factors[1]));
    const __m256 of_rests = _mm256_mul_ps(_mm256_castpd_ps(in_order), _mm256_set1_ps(1 / rest_unit));
    const __m256 all = join_blocks<C>(join_steps<C>(dots[0], dots[1]), join_steps<C>(dots[2], dots[3]));
    sum = _mm256_fmadd_ps(all, even_and_odd(of_rests), sum);
  }

  const RoundedTokens& x_;
  float* factors_;  // (T, blocks) d of the row times d of x
};

#endif  // HACK_HAS_CODE_DOT

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
