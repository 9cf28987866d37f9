// f32. Included once for each instruction set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_F32_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_F32_INL
#undef HACK_KERNELS_CPU_CODEC_F32_INL
#else
#define HACK_KERNELS_CPU_CODEC_F32_INL
#endif

#include "kernels/cpu/codec/plain-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

struct F32Codec : PlainCodec<F32Codec, float, Codec::f32> {
  template <class D>
  HWY_INLINE static hn::Vec<D> load(D d, const float* from) {
    return hn::LoadU(d, from);
  }
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
