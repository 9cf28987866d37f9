// q5_0: (q - 16) d of five bits, d in f16 for each 32 numbers. Included once for each instruction set, hence the guard
// that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_Q5_0_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_Q5_0_INL
#undef HACK_KERNELS_CPU_CODEC_Q5_0_INL
#else
#define HACK_KERNELS_CPU_CODEC_Q5_0_INL
#endif

#include "kernels/cpu/codec/nibbles-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

struct Q5_0Codec : NibbleCodec<Q5_0Codec, Codec::q5_0> {
  HWY_INLINE static float d(const std::byte* scales) { return f16_at(scales, 0); }
  HWY_INLINE static float minimum(const std::byte* scales) { return -16.0f * d(scales); }
  template <class D>
  HWY_INLINE static auto load_bits(D d, const std::byte* block, index_t start) {
    return load_five_bits(d, block, start);
  }

#if HACK_HAS_CODE_DOT
  static constexpr index_t dot_blocks = 1;
  static constexpr bool has_minima = true;
  static constexpr index_t dot_place(index_t i) { return i; }
  HWY_INLINE static __m256i load_codes(const std::byte* from) { return load_five_bits(from); }
  HWY_INLINE static __m256i dot(__m256i codes, const std::int8_t* x) { return dot_unsigned(codes, load_bytes(x)); }
  HWY_INLINE static __m256 load_scales(const std::byte* scales, __m256& minima) {
    const __m256 d = load_eight_d(scales);
    minima = _mm256_mul_ps(d, _mm256_set1_ps(-16));
    return d;
  }
#endif
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
