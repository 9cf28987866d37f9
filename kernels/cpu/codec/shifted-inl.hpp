// q3_64 and q2_64: levels of three and two bits in blocks of 64, with d and a shift of the levels in one f16. Included
// once for each instruction set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_SHIFTED_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_SHIFTED_INL
#undef HACK_KERNELS_CPU_CODEC_SHIFTED_INL
#else
#define HACK_KERNELS_CPU_CODEC_SHIFTED_INL
#endif

#include <algorithm>
#include <array>

#include "kernels/cpu/codec/nibbles-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

/// A block's 16 bytes hold two bits of each number, those of i, i + 16, i + 32 and i + 48 in byte i; of three bits the
/// last ones follow in 8 bytes, number i's as bit i.
template <Codec which>
struct ShiftedCodec : BlockCodec<ShiftedCodec<which>, which> {
  static constexpr bool has_third_bits = spec_of(which).code_bits == 3;
  static constexpr index_t block_bytes = 8 * spec_of(which).code_bits;

  /// The levels, twice where there are four: codes are looked up among eight.
  static constexpr auto levels = [] {
    std::array<std::int32_t, 8> wide{};
    const auto of_codec = spec_of(which).levels;
    for (std::size_t q = 0; q < 8; q += of_codec.size()) std::copy(of_codec.begin(), of_codec.end(), wide.begin() + q);
    return wide;
  }();

  /// Levels of codes [start, start + lanes) of a block.
  template <class D>
  HWY_INLINE static hn::Vec<D> load_levels(D d, const std::byte* block, index_t start) {
    const hn::Rebind<std::int32_t, D> whole;
    const hn::Rebind<std::uint8_t, D> bytes;
    static_assert(hn::MaxLanes(d) <= 16);
    const auto* from = reinterpret_cast<const std::uint8_t*>(block) + start % 16;
    const auto shared = hn::PromoteTo(whole, hn::LoadU(bytes, from));
    auto codes = hn::And(hn::ShiftRightSame(shared, static_cast<int>(start / 16 * 2)), hn::Set(whole, 3));
    if constexpr (has_third_bits) {
      const hn::Rebind<std::uint32_t, D> lanes;
      std::uint32_t bits;
      std::memcpy(&bits, block + 16 + start / 32 * 4, sizeof(bits));
      const auto third = hn::Shr(hn::Set(lanes, bits), hn::Iota(lanes, static_cast<std::uint32_t>(start % 32)));
      codes = hn::Or(codes, hn::BitCast(whole, hn::ShiftLeft<2>(hn::And(third, hn::Set(lanes, 1)))));
    }
    return hn::ConvertTo(d, hn::GatherIndex(whole, levels.data(), codes));
  }

  template <class D>
  HWY_INLINE static void load_step(D d, const std::byte* row, const std::byte* scales, index_t at, hn::Vec<D>& first,
                                   hn::Vec<D>& second) {
    const index_t number = at / 64, start = at % 64;
    const std::byte* block = row + number * block_bytes;
    f16 bits;
    std::memcpy(&bits, scales + number * 2, sizeof(bits));
    const ShiftedScale scale = ShiftedScale::from(bits);
    const float of_one = f16_at(reinterpret_cast<const std::byte*>(&scale.d), 0) / ShiftedScale::unit;
    const auto factor = hn::Set(d, of_one), minimum = hn::Set(d, of_one * static_cast<float>(scale.shift));
    first = hn::MulAdd(factor, load_levels(d, block, start), minimum);
    second = hn::MulAdd(factor, load_levels(d, block, start + hn::MaxLanes(d)), minimum);
  }

#if HACK_HAS_CODE_DOT
  static constexpr index_t dot_blocks = 2;
  static constexpr bool has_minima = true;
  static constexpr index_t dot_place(index_t i) { return nibble_place(i); }

  /// Levels of a block: numbers 0 to 15 and 32 to 47, then the others.
  HWY_INLINE static NibblePair load_codes(const std::byte* from) {
    const __m256i shared = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    const __m256i two = _mm256_set1_epi8(3);
    __m256i low = _mm256_and_si256(_mm256_srlv_epi64(shared, _mm256_setr_epi64x(0, 0, 4, 4)), two);
    __m256i high = _mm256_and_si256(_mm256_srlv_epi64(shared, _mm256_setr_epi64x(2, 2, 6, 6)), two);
    if constexpr (has_third_bits) {
      long long bits;
      std::memcpy(&bits, from + 16, sizeof(bits));
      const __m256i all = _mm256_set1_epi64x(bits);
      low = _mm256_or_si256(low, third_bits(all, 0));
      high = _mm256_or_si256(high, third_bits(all, 2));
    }
    constexpr std::uint64_t table = eight_levels(which, 0);
    const __m256i values = _mm256_set1_epi64x(static_cast<long long>(table));
    return {_mm256_shuffle_epi8(values, low), _mm256_shuffle_epi8(values, high)};
  }

  /// 4 where bit i of bytes `first` and `first` + 1, and in the upper half of those four bytes on, is set.
  HWY_INLINE static __m256i third_bits(__m256i bits, char first) {
    const __m256i places = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0404040404040404, 0x0505050505050505);
    return spread_bits(bits, _mm256_add_epi8(places, _mm256_set1_epi8(first)), 4);
  }

  HWY_INLINE static __m256i dot(const NibblePair& levels_of, const std::int8_t* x) {
    return dot_unsigned(_mm256_abs_epi8(levels_of.low), _mm256_sign_epi8(load_bytes(x), levels_of.low),
                        _mm256_abs_epi8(levels_of.high), _mm256_sign_epi8(load_bytes(x + 32), levels_of.high));
  }

  /// Of four blocks, each of which is two blocks of 32.
  HWY_INLINE static __m256 load_scales(const std::byte* scales, __m256& minima) {
    const __m128i bits = _mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(scales)));
    const __m128i d = _mm_packus_epi32(_mm_and_si128(bits, _mm_set1_epi32(ShiftedScale::d_bits)), _mm_setzero_si128());
    const __m128i shift =
        _mm_sub_epi32(_mm_and_si128(bits, _mm_set1_epi32(31)), _mm_slli_epi32(_mm_srli_epi32(bits, 15), 5));
    const __m128 of_one = _mm_mul_ps(_mm_cvtph_ps(d), _mm_set1_ps(1.0f / ShiftedScale::unit));
    minima = twice(_mm_mul_ps(of_one, _mm_cvtepi32_ps(shift)));
    return twice(of_one);
  }

  HWY_INLINE static __m256 twice(__m128 v) {
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(v), _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
  }
#endif
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
