// q6_k, q5_k and q4_k: blocks of 256 whose groups have small scales of their own. Included once for each instruction
// set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_GROUPED_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_GROUPED_INL
#undef HACK_KERNELS_CPU_CODEC_GROUPED_INL
#else
#define HACK_KERNELS_CPU_CODEC_GROUPED_INL
#endif

#include <array>

#include "kernels/cpu/codec/nibbles-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

/// Scales a and b of q5_k's or q4_k's eight groups, group g's as byte g.
struct SmallScales {
  std::uint64_t a, b;
};

/// Unpacks the 12 bytes behind d and d'.
HWY_INLINE SmallScales small_scales(const std::byte* scales) {
  std::uint32_t words[3];
  std::memcpy(words, scales + 4, sizeof(words));
  const std::uint32_t first = 0x3f3f3f3f, four = 0x0f0f0f0f, two = 0x03030303;
  const auto last = [&](std::uint32_t low, std::uint32_t high) {
    return std::uint64_t{(low & four) | (high >> 6 & two) << 4} << 32;
  };
  return {(words[0] & first) | last(words[2], words[0]), (words[1] & first) | last(words[2] >> 4, words[1])};
}

#if HACK_HAS_CODE_DOT

/// Eight bytes as numbers.
HWY_INLINE __m256 floats_of(std::uint64_t bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes))));
}

#endif  // HACK_HAS_CODE_DOT

/// What numbers of a group stand for: scale q + minimum.
struct GroupNumbers {
  float scale, minimum;
};

/// What products ask of these codecs. C::load_bits() loads codes of a run of 32 numbers, C::group_of() a group's scale.
template <class C, Codec which>
struct GroupedCodec : BlockCodec<C, which> {
  static constexpr index_t run_bytes = 4 * spec_of(which).code_bits;
  static constexpr index_t group = 256 / spec_of(which).groups;

  template <class D>
  HWY_INLINE static void load_step(D d, const std::byte* row, const std::byte* scales, index_t at, hn::Vec<D>& first,
                                   hn::Vec<D>& second) {
    first = numbers(d, row, scales, at);
    second = numbers(d, row, scales, at + hn::MaxLanes(d));
  }

 private:
  /// Numbers of a row from `at` on, of one group.
  template <class D>
  HWY_INLINE static hn::Vec<D> numbers(D d, const std::byte* row, const std::byte* scales, index_t at) {
    const GroupNumbers own = C::group_of(scales + at / 256 * spec_of(which).scale_bytes, at % 256 / group);
    const auto codes = hn::ConvertTo(d, C::load_bits(d, row + at / 32 * run_bytes, at % 32));
    return hn::MulAdd(hn::Set(d, own.scale), codes, hn::Set(d, own.minimum));
  }
};

/// q5_k and q4_k; runs are laid out as the blocks of `Run`, a codec of as many bits.
template <Codec which, class Run>
struct GroupsOf32 : GroupedCodec<GroupsOf32<which, Run>, which> {
  template <class D>
  HWY_INLINE static auto load_bits(D d, const std::byte* run, index_t start) {
    return Run::load_bits(d, run, start);
  }
  HWY_INLINE static GroupNumbers group_of(const std::byte* scales, index_t group) {
    const SmallScales small = small_scales(scales);
    const auto of_group = [&](std::uint64_t bytes) { return static_cast<float>(bytes >> 8 * group & 63); };
    return {f16_at(scales, 0) * of_group(small.a), -(f16_at(scales, 1) * of_group(small.b))};
  }

#if HACK_HAS_CODE_DOT
  static constexpr index_t dot_blocks = Run::dot_blocks;
  static constexpr index_t dot_place(index_t i) { return Run::dot_place(i); }
  HWY_INLINE static auto load_codes(const std::byte* from) { return Run::load_codes(from); }
  template <class Codes>
  HWY_INLINE static __m256i dot(const Codes& codes, const std::int8_t* x) {
    return Run::dot(codes, x);
  }

  static constexpr bool has_minima = true;
  HWY_INLINE static __m256 load_scales(const std::byte* scales, __m256& minima) {
    const SmallScales small = small_scales(scales);
    minima = _mm256_mul_ps(floats_of(small.b), _mm256_set1_ps(-f16_at(scales, 1)));
    return _mm256_mul_ps(floats_of(small.a), _mm256_set1_ps(f16_at(scales, 0)));
  }
#endif
};

struct Q6KCodec : GroupedCodec<Q6KCodec, Codec::q6_k> {
  static constexpr int zero = spec_of(Codec::q6_k).zero;

  template <class D>
  HWY_INLINE static hn::VFromD<hn::Rebind<std::int32_t, D>> load_bits(D d, const std::byte* run, index_t start) {
    const hn::Rebind<std::int32_t, D> whole;
    const hn::Rebind<std::uint8_t, D> bytes;
    std::uint64_t two;  // bits of numbers 8 i … 8 i + 7, shifted by 2 i
    std::memcpy(&two, run + 16, sizeof(two));
    const std::array<std::uint64_t, 2> sixteen = {two >> (start / 8 * 2), two >> (start / 8 * 2 + 2)};
    const auto* from = reinterpret_cast<const std::uint8_t*>(sixteen.data()) + start % 8;
    const auto high = hn::And(hn::PromoteTo(whole, hn::LoadU(bytes, from)), hn::Set(whole, 3));
    return hn::Or(load_nibbles(d, run, start), hn::ShiftLeft<4>(high));
  }
  HWY_INLINE static GroupNumbers group_of(const std::byte* scales, index_t group) {
    const float scale = f16_at(scales, 8) * static_cast<float>(static_cast<std::int8_t>(scales[group]));
    return {scale, scale * static_cast<float>(-zero)};
  }

#if HACK_HAS_CODE_DOT
  static constexpr index_t dot_blocks = 1;
  static constexpr index_t dot_place(index_t i) { return i; }
  HWY_INLINE static __m256i load_codes(const std::byte* from) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    const __m256i halves = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), _mm_srli_epi16(bytes, 4), 1);
    long long two;
    std::memcpy(&two, from + 16, sizeof(two));
    const __m256i spread = _mm256_srlv_epi64(_mm256_set1_epi64x(two), _mm256_setr_epi64x(0, 2, 4, 6));
    const __m256i high = _mm256_slli_epi16(_mm256_and_si256(spread, _mm256_set1_epi8(3)), 4);
    const __m256i codes = _mm256_or_si256(_mm256_and_si256(halves, _mm256_set1_epi8(15)), high);
    return _mm256_sub_epi8(codes, _mm256_set1_epi8(static_cast<char>(zero)));
  }
  HWY_INLINE static __m256i dot(__m256i codes, const std::int8_t* x) { return dot_signed(codes, load_bytes(x)); }

  static constexpr bool has_minima = false;
  /// Two of each 32 numbers.
  static constexpr bool has_half_scales = true;
  HWY_INLINE static __m256 load_scales(const std::byte* scales, __m256& last) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(scales));
    const __m256 d = _mm256_set1_ps(f16_at(scales, 8));
    last = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))));
    return _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)));
  }
#endif
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
