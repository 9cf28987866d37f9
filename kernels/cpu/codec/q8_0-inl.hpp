// q8_0: int8, with a scale in f16 for each 32 numbers of a row. Included once for each instruction set, hence the guard
// that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_Q8_0_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_Q8_0_INL
#undef HACK_KERNELS_CPU_CODEC_Q8_0_INL
#else
#define HACK_KERNELS_CPU_CODEC_Q8_0_INL
#endif

#include "kernels/cpu/codec/blocks-inl.hpp"
#include "kernels/cpu/codec/int8-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

struct Q8_0Codec : BlockCodec<Q8_0Codec, Codec::q8_0> {
  template <class D>
  HWY_INLINE static void load_step(D d, const std::byte* row, const std::byte* scales, index_t at, hn::Vec<D>& first,
                                   hn::Vec<D>& second) {
    const auto scale = hn::Set(d, f16_at(scales, at / block));
    const auto* codes = reinterpret_cast<const std::int8_t*>(row) + at;
    first = hn::Mul(scale, Int8Codec::load(d, codes));
    second = hn::Mul(scale, Int8Codec::load(d, codes + hn::MaxLanes(d)));
  }

#if HACK_HAS_CODE_DOT
  static constexpr index_t dot_blocks = 1;
  static constexpr bool has_minima = false;
  static constexpr index_t dot_place(index_t i) { return i; }
  HWY_INLINE static __m256i load_codes(const std::byte* from) { return load_bytes(from); }
  HWY_INLINE static __m256i dot(__m256i codes, const std::int8_t* x) { return dot_signed(codes, load_bytes(x)); }
  HWY_INLINE static __m256 load_scales(const std::byte* scales, __m256& /*minima*/) { return load_eight_d(scales); }
#endif
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
