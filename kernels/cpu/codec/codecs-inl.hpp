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
#include "kernels/cpu/codec/grouped-inl.hpp"
#include "kernels/cpu/codec/int8-inl.hpp"
#include "kernels/cpu/codec/iq4_nl-inl.hpp"
#include "kernels/cpu/codec/nibbles-inl.hpp"
#include "kernels/cpu/codec/q8_0-inl.hpp"
#include "kernels/cpu/codec/shifted-inl.hpp"
#include "kernels/error.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

/// Whether rows have one scale each, to be multiplied with sums.
template <class C>
constexpr bool scales_rows = has_scales(C::codec) && spec_of(C::codec).block == 0;

/// Calls f with the codec's C, of codecs whose numbers can be loaded from any place of a row: those without blocks.
template <class F>
HWY_INLINE void with_row_codec(Codec codec, const F& f) {
  switch (codec) {
    case Codec::f32:
      return f(F32Codec{});
    case Codec::bf16:
      return f(Bf16Codec{});
    case Codec::f16:
      return f(F16Codec{});
    case Codec::int8:
      return f(Int8Codec{});
    default:
      HACK_EXPECT(false);  // it has blocks
  }
}

/// Calls f with the codec's C.
template <class F>
HWY_INLINE void with_codec(Codec codec, const F& f) {
  switch (codec) {
    case Codec::q8_0:
      return f(Q8_0Codec{});
    case Codec::q5_1:
      return f(FiveBitCodec<Codec::q5_1>{});
    case Codec::q5_0:
      return f(FiveBitCodec<Codec::q5_0>{});
    case Codec::q4_1:
      return f(FourBitCodec<Codec::q4_1>{});
    case Codec::q4_0:
      return f(FourBitCodec<Codec::q4_0>{});
    case Codec::iq4_nl:
      return f(Iq4NlCodec{});
    case Codec::q3_64:
      return f(ShiftedCodec<Codec::q3_64>{});
    case Codec::q2_64:
      return f(ShiftedCodec<Codec::q2_64>{});
    case Codec::q6_k:
      return f(Q6KCodec{});
    case Codec::q5_k:
      return f(GroupsOf32<Codec::q5_k, FiveBitCodec<Codec::q5_1>>{});
    case Codec::q4_k:
      return f(GroupsOf32<Codec::q4_k, FourBitCodec<Codec::q4_1>>{});
    default:
      return with_row_codec(codec, f);
  }
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
