// q4_0: (q - 8) d of four bits, d in f16 for each 32 numbers. Included once for each instruction set, hence the guard
// that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_Q4_0_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_Q4_0_INL
#undef HACK_KERNELS_CPU_CODEC_Q4_0_INL
#else
#define HACK_KERNELS_CPU_CODEC_Q4_0_INL
#endif

#include "kernels/cpu/codec/nibbles-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

struct Q4_0Codec : NibbleCodec<Q4_0Codec, Codec::q4_0> {
  HWY_INLINE static float d(const std::byte* scales) { return f16_at(scales, 0); }
  HWY_INLINE static float minimum(const std::byte* scales) { return -8.0f * d(scales); }
  template <class D>
  HWY_INLINE static auto load_bits(D d, const std::byte* block, index_t start) {
    return load_nibbles(d, block, start);
  }

#if HACK_HAS_CODE_DOT
  static constexpr index_t dot_blocks = 2;
  static constexpr bool has_minima = true;
  static constexpr index_t dot_place(index_t i) { return nibble_place(i); }
  HWY_INLINE static NibblePair load_codes(const std::byte* from) { return load_nibble_pair(from); }
  HWY_INLINE static __m256i dot(const NibblePair& codes, const std::int8_t* x) {
    return dot_unsigned(codes.low, load_bytes(x), codes.high, load_bytes(x + 32));
  }
  HWY_INLINE static __m256 load_scales(const std::byte* scales, __m256& minima) {
    const __m256 d = load_eight_d(scales);
    minima = _mm256_mul_ps(d, _mm256_set1_ps(-8));
    return d;
  }
#endif
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
