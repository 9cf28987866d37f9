// f16. Included once for each instruction set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_F16_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_F16_INL
#undef HACK_KERNELS_CPU_CODEC_F16_INL
#else
#define HACK_KERNELS_CPU_CODEC_F16_INL
#endif

#include "kernels/cpu/codec/plain-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

struct F16Codec : PlainCodec<F16Codec, f16, Codec::f16> {
  template <class D>
  HWY_INLINE static hn::Vec<D> load(D d, const f16* from) {
#if HWY_TARGET <= HWY_AVX2 || HWY_TARGET == HWY_NEON
    const hn::Rebind<hwy::float16_t, D> half;
    return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(from)));
#else  // no instruction for it
    HWY_ALIGN float lanes[hn::MaxLanes(D())];
    for (std::size_t i = 0; i < hn::MaxLanes(d); ++i) lanes[i] = to_float(from[i]);
    return hn::Load(d, lanes);
#endif
  }
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
