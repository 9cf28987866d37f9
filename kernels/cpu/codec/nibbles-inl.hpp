// q4_0, q4_1, q5_0 and q5_1: codes of 4 and 5 bits in blocks of 32. Included once for each instruction set, hence the
// guard that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_NIBBLES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_NIBBLES_INL
#undef HACK_KERNELS_CPU_CODEC_NIBBLES_INL
#else
#define HACK_KERNELS_CPU_CODEC_NIBBLES_INL
#endif

#include "kernels/cpu/codec/blocks-inl.hpp"
#include "kernels/cpu/codec/code_dot-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

/// Codes [start, start + lanes) of a block of 32 whose 16 bytes hold numbers i and i + 16 in their low and high halves.
template <class D>
HWY_INLINE hn::VFromD<hn::Rebind<std::int32_t, D>> load_nibbles(D d, const std::byte* block, index_t start) {
  const hn::Rebind<std::int32_t, D> whole;
  const hn::Rebind<std::uint8_t, D> bytes;
  static_assert(hn::MaxLanes(d) <= 16);
  const auto* from = reinterpret_cast<const std::uint8_t*>(block) + start % 16;
  const auto both = hn::PromoteTo(whole, hn::LoadU(bytes, from));
  return start < 16 ? hn::And(both, hn::Set(whole, 15)) : hn::ShiftRight<4>(both);
}

/// The same of a block of five bits, whose fifth bits are 4 bytes after the others, number i's bit i.
template <class D>
HWY_INLINE hn::VFromD<hn::Rebind<std::int32_t, D>> load_five_bits(D d, const std::byte* block, index_t start) {
  const hn::Rebind<std::int32_t, D> whole;
  const hn::Rebind<std::uint32_t, D> lanes;
  std::uint32_t bits;
  std::memcpy(&bits, block + 16, sizeof(bits));
  const auto fifth = hn::Shr(hn::Set(lanes, bits), hn::Iota(lanes, static_cast<std::uint32_t>(start)));
  const auto sixteen = hn::ShiftLeft<4>(hn::And(fifth, hn::Set(lanes, 1)));
  return hn::Or(load_nibbles(d, block, start), hn::BitCast(whole, sixteen));
}

#if HACK_HAS_CODE_DOT

/// Codes of two blocks of 4 bits: low halves of all bytes, then high ones.
struct NibblePair {
  __m256i low, high;
};

HWY_INLINE NibblePair load_nibble_pair(const std::byte* from) {
  const __m256i bytes = load_bytes(from), four = _mm256_set1_epi8(15);
  return {_mm256_and_si256(bytes, four), _mm256_and_si256(_mm256_srli_epi16(bytes, 4), four)};
}

/// Where number i of the two blocks is in a NibblePair.
constexpr index_t nibble_place(index_t i) { return i % 32 / 16 * 32 + i / 32 * 16 + i % 16; }

/// Codes of a block of five bits, in their order.
HWY_INLINE __m256i load_five_bits(const std::byte* block) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block));
  const __m256i halves = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), _mm_srli_epi16(bytes, 4), 1);
  int bits;
  std::memcpy(&bits, block + 16, sizeof(bits));
  const __m256i places = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  return _mm256_or_si256(_mm256_and_si256(halves, _mm256_set1_epi8(15)),
                         spread_bits(_mm256_set1_epi32(bits), places, 16));
}

#endif  // HACK_HAS_CODE_DOT

/// What products ask of a codec of 4 or 5 bits: number q stands for d q + minimum, and without minima for (q - zero) d.
/// C::load_bits() loads codes.
template <class C, Codec which>
struct NibbleCodec : BlockCodec<C, which> {
  static constexpr index_t block_bytes = 4 * spec_of(which).code_bits;
  static constexpr bool stores_minima = spec_of(which).scale_bytes == 4;
  static constexpr float zero = static_cast<float>(spec_of(which).zero);

  template <class D>
  HWY_INLINE static void load_step(D d, const std::byte* row, const std::byte* scales, index_t at, hn::Vec<D>& first,
                                   hn::Vec<D>& second) {
    const index_t number = at / 32, start = at % 32;
    const std::byte* block = row + number * block_bytes;
    const std::byte* of_block = scales + number * spec_of(which).scale_bytes;
    const float scale = f16_at(of_block, 0);
    const auto factor = hn::Set(d, scale), minimum = hn::Set(d, stores_minima ? f16_at(of_block, 1) : -zero * scale);
    first = hn::MulAdd(factor, hn::ConvertTo(d, C::load_bits(d, block, start)), minimum);
    second = hn::MulAdd(factor, hn::ConvertTo(d, C::load_bits(d, block, start + hn::MaxLanes(d))), minimum);
  }

#if HACK_HAS_CODE_DOT
  static constexpr bool has_minima = stores_minima || zero != 0;
  HWY_INLINE static __m256 load_scales(const std::byte* scales, __m256& minima) {
    if constexpr (stores_minima) return load_eight_pairs(scales, minima);
    const __m256 d = load_eight_d(scales);
    minima = _mm256_mul_ps(d, _mm256_set1_ps(-zero));
    return d;
  }
#endif
};

/// q4_0 and q4_1.
template <Codec which>
struct FourBitCodec : NibbleCodec<FourBitCodec<which>, which> {
  template <class D>
  HWY_INLINE static auto load_bits(D d, const std::byte* block, index_t start) {
    return load_nibbles(d, block, start);
  }

#if HACK_HAS_CODE_DOT
  static constexpr index_t dot_blocks = 2;
  static constexpr index_t dot_place(index_t i) { return nibble_place(i); }
  HWY_INLINE static NibblePair load_codes(const std::byte* from) { return load_nibble_pair(from); }
  HWY_INLINE static __m256i dot(const NibblePair& codes, const std::int8_t* x) {
    return dot_unsigned(codes.low, load_bytes(x), codes.high, load_bytes(x + 32));
  }
#endif
};

/// q5_0 and q5_1.
template <Codec which>
struct FiveBitCodec : NibbleCodec<FiveBitCodec<which>, which> {
  template <class D>
  HWY_INLINE static auto load_bits(D d, const std::byte* block, index_t start) {
    return load_five_bits(d, block, start);
  }

#if HACK_HAS_CODE_DOT
  static constexpr index_t dot_blocks = 1;
  static constexpr index_t dot_place(index_t i) { return i; }
  HWY_INLINE static __m256i load_codes(const std::byte* from) { return load_five_bits(from); }
  HWY_INLINE static __m256i dot(__m256i codes, const std::int8_t* x) { return dot_unsigned(codes, load_bytes(x)); }
#endif
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
