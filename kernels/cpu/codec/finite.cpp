#include "kernels/finite.hpp"

#include <cstring>
#include <limits>

#include "kernels/cpu/simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/codec/finite.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hack::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Doubled, numbers lose their sign; those that are not finite are then the largest unsigned integers, from twice the
/// exponent on. Two instructions for a vector, and no branch. Where no number may be below 0 it keeps its sign, which
/// makes it one of the largest; only -0 counts as 0.
template <bool is_signed, class Bits>
bool are_below(const std::byte* from, index_t n, Bits exponent) {
  const hn::ScalableTag<Bits> d;
  const auto lanes = static_cast<index_t>(hn::Lanes(d));
  const auto minus_zero = hn::Set(d, static_cast<Bits>(std::numeric_limits<Bits>::max() / 2 + 1));
  const auto size_of = [&](auto v) {
    if constexpr (is_signed) return hn::Add(v, v);
    return hn::IfThenZeroElse(hn::Eq(v, minus_zero), v);
  };
  const auto load = [&](index_t i) {
    return hn::LoadU(d, reinterpret_cast<const Bits*>(from + i * static_cast<index_t>(sizeof(Bits))));
  };
  auto largest = hn::Zero(d), second = hn::Zero(d);
  index_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    largest = hn::Max(largest, size_of(load(i)));
    second = hn::Max(second, size_of(load(i + lanes)));
  }
  if (i + lanes <= n) largest = hn::Max(largest, size_of(load(i)));
  if (n % lanes > 0) {
    HWY_ALIGN Bits rest[hn::MaxLanes(d)] = {};
    const index_t count = n % lanes;
    std::memcpy(rest, from + (n - count) * static_cast<index_t>(sizeof(Bits)),
                static_cast<std::size_t>(count) * sizeof(Bits));
    second = hn::Max(second, size_of(hn::Load(d, rest)));
  }
  const auto limit = hn::Set(d, static_cast<Bits>(is_signed ? exponent << 1 : exponent));
  return hn::AllTrue(d, hn::Lt(hn::Max(largest, second), limit));
}

bool are_sound(const std::byte* from, DType type, index_t n, bool is_signed) {
  if (type == DType::f32) {
    constexpr std::uint32_t exponent = 0x7f800000;
    return is_signed ? are_below<true>(from, n, exponent) : are_below<false>(from, n, exponent);
  }
  const std::uint16_t exponent = type == DType::bf16 ? 0x7f80 : 0x7c00;
  return is_signed ? are_below<true>(from, n, exponent) : are_below<false>(from, n, exponent);
}

}  // namespace hack::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack {

HWY_EXPORT(are_sound);

bool are_finite(const std::byte* numbers, DType type, index_t n) {
  return HWY_DYNAMIC_DISPATCH(are_sound)(numbers, type, n, true);
}

bool are_finite_from_zero(const std::byte* numbers, DType type, index_t n) {
  return HWY_DYNAMIC_DISPATCH(are_sound)(numbers, type, n, false);
}

}  // namespace hack
#endif
