// Tokens rounded to int8, as codes of weights are multiplied with them. Included once for each instruction set, hence
// the guard that toggles.

#if defined(HACK_KERNELS_CPU_LINEAR_ROUND_TOKENS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_LINEAR_ROUND_TOKENS_INL
#undef HACK_KERNELS_CPU_LINEAR_ROUND_TOKENS_INL
#else
#define HACK_KERNELS_CPU_LINEAR_ROUND_TOKENS_INL
#endif

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/cpu/codec/code_dot-inl.hpp"
#include "kernels/cpu/linear/row_reader-inl.hpp"
#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/matrix_view.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

#if HACK_HAS_CODE_DOT

/// Codes for what rounding leaves of a block stand for its d over this.
constexpr float rest_unit = 254;

/// x (T, k) rounded to int8, d q in blocks of 32 numbers, as rows are read; zeros follow up to a whole scale group. A
/// block of which one number has most of the energy would be rounded by that number's size: there d (q + p / 254)
/// stands for x, with a second code p for each number. Whether it is one depends on the block alone.
struct RoundedTokens {
  const std::int8_t* codes = nullptr;      // (T, blocks * 32) q
  const std::int8_t* rests = nullptr;      // (T, blocks * 32) p; zeros in other blocks
  const float* scales = nullptr;           // (T, blocks) d
  const float* sums = nullptr;             // (T, blocks) the sum of what a block's codes stand for
  const std::uint8_t* has_rest = nullptr;  // (T, blocks)
  index_t blocks = 0;                      // from one token to the next, a multiple of scale_group
  index_t used = 0;                        // blocks of k numbers

  HWY_INLINE RoundedTokens from(index_t t) const {
    const index_t numbers = t * blocks * rounded_block, at = t * blocks;
    return {codes + numbers, rests + numbers, scales + at, sums + at, has_rest + at, blocks, used};
  }
};

/// Where one token's block goes.
struct RoundedBlock {
  std::int8_t* codes;  // of its step
  std::int8_t* rests;
  float& scale;
  float& sum;
  std::uint8_t& has_rest;
};

/// The largest of eight integers.
HWY_INLINE std::int32_t largest_of(__m256i v) {
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0b01001110));
  return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0b10110001)));
}

HWY_INLINE std::int32_t sum_of(__m256i v) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0b01001110));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0b10110001)));
}

HWY_INLINE float sum_of(__m256 v) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

/// Loads 32 numbers and returns the largest magnitude; infinity where one is not finite.
HWY_INLINE float load_and_find_largest(const float* x, __m256 (&v)[4]) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i bits = _mm256_setzero_si256();  // as integers, magnitudes have their order, infinity and NaN above all
  for (index_t i = 0; i < 4; ++i) {
    v[i] = _mm256_loadu_ps(x + 8 * i);
    bits = _mm256_max_epi32(bits, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
  }
  return std::bit_cast<float>(std::min(largest_of(bits), 0x7f800000));
}

/// d of a block and its inverse.
struct RoundingStep {
  float d, inverse;
  bool finite;

  /// d is `largest` over the largest code, NaN where a number is not finite.
  HWY_INLINE static RoundingStep of(float largest, float largest_code) {
    const bool finite = largest < std::numeric_limits<float>::infinity();
    const float d = finite ? largest / largest_code : std::numeric_limits<float>::quiet_NaN();
    // Below 2^-126 d has no inverse: a block that is next to nothing is rounded to it.
    return {d, finite && d >= 0x1p-126f ? 1 / d : 0, finite};
  }

  /// Codes of 32 numbers; zeros where one is not finite.
  HWY_INLINE void round(const __m256 (&v)[4], __m256i (&q)[4]) const {
    for (index_t i = 0; i < 4; ++i) {
      q[i] = finite ? _mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(inverse))) : _mm256_setzero_si256();
    }
  }
};

HWY_INLINE std::int32_t sum_of(const __m256i (&q)[4]) {
  return sum_of(_mm256_add_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3])));
}

/// Puts 32 codes, the `first`-th of their step on, where the codec wants them, 16 neighbours together; returns their
/// sum.
template <class C>
HWY_INLINE float put_codes(const __m256i (&q)[4], index_t first, std::int8_t* to) {
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
  const __m256i in_order = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + C::dot_place(first)), _mm256_castsi256_si128(in_order));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + C::dot_place(first + 16)), _mm256_extracti128_si256(in_order, 1));
  return static_cast<float>(sum_of(q));
}

/// Rounds 32 numbers, the `first`-th of their step on. d is NaN where a number is not finite.
template <class C>
HWY_INLINE void round_block(const float* x, index_t first, const RoundedBlock& to) {
  __m256 v[4], energies = _mm256_setzero_ps();
  const float largest = load_and_find_largest(x, v);
  for (index_t i = 0; i < 4; ++i) energies = _mm256_fmadd_ps(v[i], v[i], energies);
  const RoundingStep step = RoundingStep::of(largest, 127);
  __m256i q[4];
  step.round(v, q);
  to.scale = step.d;
  to.sum = step.d * put_codes<C>(q, first, to.codes);
  to.has_rest = step.finite && 2 * largest * largest > sum_of(energies);
  if (!to.has_rest) return;
  for (index_t i = 0; i < 4; ++i) {
    const __m256 rest = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(q[i]), _mm256_set1_ps(step.d), v[i]);
    q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(rest, _mm256_set1_ps(step.inverse * rest_unit)));
  }
  to.sum += step.d / rest_unit * put_codes<C>(q, first, to.rests);
}

template <class C>
RoundedTokens round_tokens(MatrixView<const float> x, Scratch& room) {
  const index_t used = (x.cols + rounded_block - 1) / rounded_block;
  const index_t blocks = (used + scale_group - 1) / scale_group * scale_group;
  const index_t all = x.rows * blocks, floats = all * (2 * rounded_block / 4 + 2) + all / 4;
  float* scales = room.get(floats);
  float* sums = scales + all;
  auto* codes = reinterpret_cast<std::int8_t*>(sums + all);
  std::int8_t* rests = codes + all * rounded_block;
  auto* has_rest = reinterpret_cast<std::uint8_t*>(rests + all * rounded_block);
  std::memset(scales, 0, static_cast<std::size_t>(floats) * sizeof(float));
  constexpr index_t step = C::dot_blocks * rounded_block;
  for (index_t t = 0; t < x.rows; ++t) {
    for (index_t b = 0; b < used; ++b) {
      const index_t at = b * rounded_block, n = x.cols - at, block = t * blocks + b;
      const float* from = x.row(t) + at;
      alignas(32) float last[rounded_block] = {};
      if (n < rounded_block) {
        std::copy_n(from, n, last);
        from = last;
      }
      const index_t of_step = t * blocks * rounded_block + at / step * step;
      round_block<C>(from, at % step, {codes + of_step, rests + of_step, scales[block], sums[block], has_rest[block]});
    }
  }
  return {codes, rests, scales, sums, has_rest, blocks, used};
}

#endif  // HACK_HAS_CODE_DOT

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
