// Loads of weights widened to f32. Included once for each instruction set, hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_WIDEN_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_WIDEN_INL
#undef HACK_KERNELS_CPU_WIDEN_INL
#else
#define HACK_KERNELS_CPU_WIDEN_INL
#endif

#include <hwy/highway.h>

#include "kernels/dtype.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const float* from) {
  return hn::LoadU(d, from);
}

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const bf16* from) {
  const hn::Rebind<std::uint16_t, D> half;
  const hn::RebindToUnsigned<D> whole;
  const auto bits = hn::PromoteTo(whole, hn::LoadU(half, reinterpret_cast<const std::uint16_t*>(from)));
  return hn::BitCast(d, hn::ShiftLeft<16>(bits));
}

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const f16* from) {
#if HWY_TARGET <= HWY_AVX2 || HWY_TARGET == HWY_NEON
  const hn::Rebind<hwy::float16_t, D> half;
  return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(from)));
#else  // no instruction for it
  HWY_ALIGN float lanes[hn::MaxLanes(D())];
  for (std::size_t i = 0; i < hn::MaxLanes(d); ++i) lanes[i] = to_float(from[i]);
  return hn::Load(d, lanes);
#endif
}

/// Calls f with `data` as a pointer to the C++ type that `type` names.
template <class F>
HWY_INLINE void with_pointer(const void* data, DType type, const F& f) {
  switch (type) {
    case DType::f32:
      return f(static_cast<const float*>(data));
    case DType::bf16:
      return f(static_cast<const bf16*>(data));
    case DType::f16:
      return f(static_cast<const f16*>(data));
  }
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
