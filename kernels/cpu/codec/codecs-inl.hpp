// Every codec, for products to be compiled for. Included once for each instruction set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_CODECS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_CODECS_INL
#undef HACK_KERNELS_CPU_CODEC_CODECS_INL
#else
#define HACK_KERNELS_CPU_CODEC_CODECS_INL
#endif

#include "kernels/cpu/codec/bf16-inl.hpp"
#include "kernels/cpu/codec/f16-inl.hpp"
#include "kernels/cpu/codec/f32-inl.hpp"
#include "kernels/cpu/codec/int8-inl.hpp"
#include "kernels/cpu/codec/q8_0-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

/// Whether rows have one scale each, to be multiplied with sums, and whether their codes come in whole blocks, whose
/// scales loads multiply in.
template <class C>
constexpr bool scales_rows = has_scales(C::codec) && spec_of(C::codec).block == 0;
template <class C>
constexpr bool has_blocks = spec_of(C::codec).block > 0;

/// Calls f with the codec's C.
template <class F>
HWY_INLINE void with_codec(Codec codec, const F& f) {
  switch (codec) {
    case Codec::f32:
      return f(F32Codec{});
    case Codec::bf16:
      return f(Bf16Codec{});
    case Codec::f16:
      return f(F16Codec{});
    case Codec::int8:
      return f(Int8Codec{});
    case Codec::q8_0:
      return f(Q8_0Codec{});
  }
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
