// int8, with a scale in bf16 for each row. Included once for each instruction set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_INT8_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_INT8_INL
#undef HACK_KERNELS_CPU_CODEC_INT8_INL
#else
#define HACK_KERNELS_CPU_CODEC_INT8_INL
#endif

#include <cstring>

#include "kernels/cpu/codec/bf16-inl.hpp"
#include "kernels/cpu/codec/code_dot-inl.hpp"
#include "kernels/cpu/codec/plain-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

/// Loads leave the scale out, which scale_sums() multiplies sums of a whole row with.
struct Int8Codec : PlainCodec<Int8Codec, std::int8_t, Codec::int8> {
  template <class D>
  HWY_INLINE static hn::Vec<D> load(D d, const std::int8_t* from) {
    const hn::Rebind<std::int8_t, D> bytes;
    const hn::Rebind<std::int32_t, D> whole;
    return hn::ConvertTo(d, hn::PromoteTo(whole, hn::LoadU(bytes, from)));
  }

  static float scale(const std::byte* scales, index_t row) {
    bf16 scale;
    std::memcpy(&scale, scales + row * static_cast<index_t>(sizeof(scale)), sizeof(scale));
    return to_float(scale);
  }

  /// Multiplies sums of rows [0, n), n <= 4, by their scales.
  HWY_INLINE static void scale_sums(const std::byte* scales, index_t n, float* sums) {
#if HWY_TARGET != HWY_SCALAR
    if (n == 4) {
      const hn::Full128<float> d;
      hn::StoreU(hn::Mul(hn::LoadU(d, sums), Bf16Codec::load(d, reinterpret_cast<const bf16*>(scales))), d, sums);
      return;
    }
#endif
    for (index_t r = 0; r < n; ++r) sums[r] *= scale(scales, r);
  }

#if HACK_HAS_CODE_DOT
  static constexpr index_t dot_blocks = 1;
  static constexpr index_t dot_place(index_t i) { return i; }
  HWY_INLINE static __m256i load_codes(const std::byte* from) { return load_bytes(from); }
  HWY_INLINE static __m256i dot(__m256i codes, const std::int8_t* x) { return dot_signed(codes, load_bytes(x)); }
#endif

  HWY_INLINE static void widen(const std::byte* row, const std::byte* scales, index_t at, index_t n, float* to) {
    const hn::ScalableTag<float> d;
    constexpr index_t lanes = hn::MaxLanes(hn::ScalableTag<float>());
    const auto* codes = reinterpret_cast<const std::int8_t*>(row) + at;
    const float factor = scale(scales, 0);
    index_t i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::Set(d, factor), load(d, codes + i)), d, to + i);
    for (; i < n; ++i) to[i] = factor * static_cast<float>(codes[i]);
  }
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
