// What codecs of plain numbers have in common. Included once for each instruction set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_CODEC_PLAIN_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_CODEC_PLAIN_INL
#undef HACK_KERNELS_CPU_CODEC_PLAIN_INL
#else
#define HACK_KERNELS_CPU_CODEC_PLAIN_INL
#endif

#include <hwy/highway.h>

#include "kernels/codec.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// What products ask of a codec (codecs-inl.hpp lists the codecs), here of numbers of type T, of which C::load(d, from)
/// widens a vector. `row` points at a row's codes and `at` counts its numbers.
template <class C, class T, Codec which>
struct PlainCodec {
  static constexpr Codec codec = which;
  using Number = T;

  /// A vector of numbers from `at` on.
  template <class D>
  HWY_INLINE static hn::Vec<D> load_at(D d, const std::byte* row, index_t at) {
    return C::load(d, reinterpret_cast<const T*>(row) + at);
  }

  /// Two vectors of the numbers from `at` on, number at + i in lane place(i) of both: load whose order suits it best.
  template <class D>
  HWY_INLINE static void load_step(D d, const std::byte* row, const std::byte* /*scales*/, index_t at,
                                   hn::Vec<D>& first, hn::Vec<D>& second) {
    first = load_at(d, row, at);
    second = load_at(d, row, at + hn::MaxLanes(d));
  }
  static constexpr index_t place(index_t i, index_t /*lanes*/) { return i; }

  /// to[i] = number at + i of the row.
  HWY_INLINE static void widen(const std::byte* row, const std::byte* /*scales*/, index_t at, index_t n, float* to) {
    const hn::ScalableTag<float> d;
    constexpr index_t lanes = hn::MaxLanes(hn::ScalableTag<float>());
    const T* source = reinterpret_cast<const T*>(row) + at;
    index_t i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(C::load(d, source + i), d, to + i);
    for (; i < n; ++i) to[i] = to_float(source[i]);
  }
};

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
