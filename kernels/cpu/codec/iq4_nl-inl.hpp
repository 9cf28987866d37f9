// iq4_nl: values[q] d of four bits, d in f16 for each 32 numbers. Included once for each instruction set, hence the
// guard that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_IQ4_NL_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_IQ4_NL_INL
#undef HACK_KERNELS_CPU_CODEC_IQ4_NL_INL
#else
#define HACK_KERNELS_CPU_CODEC_IQ4_NL_INL
#endif

#include <algorithm>
#include <array>

#include "kernels/cpu/codec/nibbles-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

struct Iq4NlCodec : NibbleCodec<Iq4NlCodec, Codec::iq4_nl> {
  template <class D>
  HWY_INLINE static auto load_bits(D d, const std::byte* block, index_t start) {
    static constexpr auto values = [] {
      std::array<std::int32_t, 16> wide{};
      std::copy(iq4_nl_levels.begin(), iq4_nl_levels.end(), wide.begin());
      return wide;
    }();
    const auto codes = load_nibbles(d, block, start);
    return hn::GatherIndex(hn::Rebind<std::int32_t, D>(), values.data(), codes);
  }

#if HACK_HAS_CODE_DOT
  static constexpr index_t dot_blocks = 2;
  static constexpr index_t dot_place(index_t i) { return nibble_place(i); }
  HWY_INLINE static NibblePair load_codes(const std::byte* from) {
    const auto* table = reinterpret_cast<const __m128i*>(iq4_nl_levels.data());
    const __m256i values = _mm256_broadcastsi128_si256(_mm_loadu_si128(table));
    const NibblePair codes = load_nibble_pair(from);
    return {_mm256_shuffle_epi8(values, codes.low), _mm256_shuffle_epi8(values, codes.high)};
  }
  HWY_INLINE static __m256i dot(const NibblePair& values, const std::int8_t* x) {
    return _mm256_add_epi32(dot_signed(values.low, load_bytes(x)), dot_signed(values.high, load_bytes(x + 32)));
  }
#endif
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
