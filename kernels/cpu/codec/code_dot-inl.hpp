// Codes times codes, 32 at a time. Included once for each instruction set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_CODE_DOT_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_CODE_DOT_INL
#undef HACK_KERNELS_CPU_CODEC_CODE_DOT_INL
#else
#define HACK_KERNELS_CPU_CODEC_CODE_DOT_INL
#endif

#include <hwy/highway.h>

#include "kernels/codec.hpp"

// Whether this instruction set multiplies bytes, 32 at a time: AVX2 and what came after it.
#undef HACK_HAS_CODE_DOT
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
#define HACK_HAS_CODE_DOT 1
#include <immintrin.h>
#else
#define HACK_HAS_CODE_DOT 0
#endif

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

/// Numbers of x that share a scale where x is rounded to int8.
constexpr index_t rounded_block = 32;

#if HACK_HAS_CODE_DOT

/// Each lane is the sum of four products of unsigned codes, at most 128, with signed ones from -127 to 127.
HWY_INLINE __m256i dot_unsigned(__m256i codes, __m256i x) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(codes, x), _mm256_set1_epi16(1));
}

/// The same of two pairs of codes of at most 64, whose sums of four products fit 16 bits.
HWY_INLINE __m256i dot_unsigned(__m256i codes, __m256i x, __m256i more_codes, __m256i more_x) {
  const __m256i sums = _mm256_add_epi16(_mm256_maddubs_epi16(codes, x), _mm256_maddubs_epi16(more_codes, more_x));
  return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
}

/// Of signed codes, -128 too, and x from -127 to 127: |codes| times x with the codes' signs.
HWY_INLINE __m256i dot_signed(__m256i codes, __m256i x) {
  return dot_unsigned(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes));
}

HWY_INLINE __m256i load_bytes(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

/// `value` in byte i where bit i % 8 of byte places[i], of the same half of `bits`, is set, else 0.
HWY_INLINE __m256i spread_bits(__m256i bits, __m256i places, char value) {
  const __m256i own = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
  const __m256i is_set = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(bits, places), own), own);
  return _mm256_and_si256(is_set, _mm256_set1_epi8(value));
}

/// Whether codec C says how its codes are multiplied with codes.
template <class C>
constexpr bool has_code_dot = requires {
  C::dot_blocks;
};

/// Whether every 16 numbers of codec C have a scale of their own.
template <class C>
constexpr bool has_half_scales = requires {
  C::has_half_scales;
};

#endif  // HACK_HAS_CODE_DOT

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
