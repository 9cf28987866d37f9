// bf16. Included once for each instruction set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_BF16_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_BF16_INL
#undef HACK_KERNELS_CPU_CODEC_BF16_INL
#else
#define HACK_KERNELS_CPU_CODEC_BF16_INL
#endif

#include "kernels/cpu/codec/plain-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

struct Bf16Codec : PlainCodec<Bf16Codec, bf16, Codec::bf16> {
  template <class D>
  HWY_INLINE static hn::Vec<D> load(D d, const bf16* from) {
    const hn::Rebind<std::uint16_t, D> half;
    const hn::RebindToUnsigned<D> whole;
    const auto bits = hn::PromoteTo(whole, hn::LoadU(half, reinterpret_cast<const std::uint16_t*>(from)));
    return hn::BitCast(d, hn::ShiftLeft<16>(bits));
  }

#if HWY_TARGET != HWY_SCALAR
  /// There is no instruction that widens bf16: one load gives the numbers at even places, by a shift, and those at odd
  /// places, by a mask.
  template <class D>
  HWY_INLINE static void load_step(D d, const std::byte* row, const std::byte* /*scales*/, index_t at,
                                   hn::Vec<D>& first, hn::Vec<D>& second) {
    const hn::RebindToUnsigned<D> whole;
    const hn::Repartition<std::uint16_t, D> half;
    const auto pairs = hn::BitCast(whole, hn::LoadU(half, reinterpret_cast<const std::uint16_t*>(row) + at));
    first = hn::BitCast(d, hn::ShiftLeft<16>(pairs));
    second = hn::BitCast(d, hn::And(pairs, hn::Set(whole, 0xffff0000u)));
  }
  static constexpr index_t place(index_t i, index_t lanes) { return i % 2 * lanes + i / 2; }
#endif
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
