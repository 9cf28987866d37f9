// What codecs with blocks along a row have in common. Included once for each instruction set, hence the guard that
// toggles.

#if defined(HACK_KERNELS_CPU_CODEC_BLOCKS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_BLOCKS_INL
#undef HACK_KERNELS_CPU_CODEC_BLOCKS_INL
#else
#define HACK_KERNELS_CPU_CODEC_BLOCKS_INL
#endif

#include <algorithm>
#include <cstring>

#include <hwy/highway.h>

#include "kernels/codec.hpp"
#include "kernels/cpu/codec/code_dot-inl.hpp"
#include "kernels/cpu/codec/f16-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

/// Number i of those at `scales`.
HWY_INLINE float f16_at(const std::byte* scales, index_t i) {
#if HWY_TARGET <= HWY_AVX2 || HWY_TARGET == HWY_NEON
  const hn::Full128<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> half;
  const hn::Rebind<std::uint16_t, decltype(d)> bits;
  std::uint16_t scale;
  std::memcpy(&scale, scales + i * 2, 2);
  return hn::GetLane(hn::PromoteTo(d, hn::BitCast(half, hn::Set(bits, scale))));
#else  // no instruction for it
  f16 scale;
  std::memcpy(&scale, scales + i * 2, 2);
  return to_float(scale);
#endif
}

#if HACK_HAS_CODE_DOT

/// d of eight blocks that have nothing else.
HWY_INLINE __m256 load_eight_d(const std::byte* scales) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales)));
}

/// Quarters 0, 2, 1, 3 of a vector of floats.
HWY_INLINE __m256 swap_middle(__m256 v) {
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0b11011000));
}

/// d and minima of eight blocks that have both, side by side.
HWY_INLINE __m256 load_eight_pairs(const std::byte* scales, __m256& minima) {
  const __m256 first = load_eight_d(scales), last = load_eight_d(scales + 16);
  minima = swap_middle(_mm256_shuffle_ps(first, last, 0b11011101));
  return swap_middle(_mm256_shuffle_ps(first, last, 0b10001000));
}

#endif  // HACK_HAS_CODE_DOT

/// What products ask of a codec with blocks (plain-inl.hpp). C::load_step() widens a step of a row, which lies in one
/// block; steps begin at multiples of their length.
template <class C, Codec which>
struct BlockCodec {
  static constexpr Codec codec = which;
  static constexpr index_t block = spec_of(which).block;
  static_assert(block % (2 * hn::MaxLanes(hn::ScalableTag<float>())) == 0);

  /// to[i] = number at + i of the row, whose blocks are there in whole.
  HWY_INLINE static void widen(const std::byte* row, const std::byte* scales, index_t at, index_t n, float* to) {
    const hn::ScalableTag<float> d;
    constexpr index_t lanes = hn::MaxLanes(d), step = 2 * lanes;
    hn::Vec<decltype(d)> first, second;
    index_t i = 0;
    while (i < n) {
      const index_t start = (at + i) / step * step, skipped = at + i - start;
      C::load_step(d, row, scales, start, first, second);
      const index_t count = std::min(step - skipped, n - i);
      if (count == step) {
        hn::StoreU(first, d, to + i);
        hn::StoreU(second, d, to + i + lanes);
      } else {
        HWY_ALIGN float numbers[step];
        hn::Store(first, d, numbers);
        hn::Store(second, d, numbers + lanes);
        std::copy_n(numbers + skipped, count, to + i);
      }
      i += count;
    }
  }
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
