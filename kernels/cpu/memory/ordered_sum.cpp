#include "kernels/cpu/memory/ordered_sum.hpp"

#include <algorithm>

#include "kernels/cpu/simd.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/memory/ordered_sum.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
constexpr index_t lanes = hn::MaxLanes(Floats());

void stream_row(const float* from, index_t n, float* to) {
  const Floats d;
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::Stream(hn::LoadU(d, from + i), d, to + i);
  std::copy_n(from + i, n - i, to + i);
}

template <Sum what>
void sum_rows(std::span<const float* const> from, index_t n, float* out) {
  const Floats d;
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    auto s = hn::LoadU(d, from[0] + i);
    for (std::size_t r = 1; r < from.size(); ++r) s = hn::Add(s, hn::LoadU(d, from[r] + i));
    if constexpr (what == Sum::adds) s = hn::Add(hn::LoadU(d, out + i), s);
    hn::StoreU(s, d, out + i);
  }
  for (; i < n; ++i) {
    float s = from[0][i];
    for (std::size_t r = 1; r < from.size(); ++r) s += from[r][i];
    out[i] = what == Sum::adds ? out[i] + s : s;
  }
}

void sum_of_rows(std::span<const float* const> from, index_t n, Sum what, float* out) {
  (what == Sum::adds ? sum_rows<Sum::adds> : sum_rows<Sum::replaces>)(from, n, out);
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <hwy/cache_control.h>

namespace hack::kernels {

HWY_EXPORT(stream_row);
HWY_EXPORT(sum_of_rows);

void copy_past_caches(const float* from, index_t n, float* to) { HWY_DYNAMIC_DISPATCH(stream_row)(from, n, to); }

void flush_copies() { hwy::FlushStream(); }

void sum_in_order(std::span<const float* const> from, index_t n, Sum what, float* out) {
  HWY_DYNAMIC_DISPATCH(sum_of_rows)(from, n, what, out);
}

}  // namespace hack::kernels
#endif
