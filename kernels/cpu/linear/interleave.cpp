#include "kernels/cpu/linear/interleave.hpp"

#include <bit>

#include "kernels/cpu/simd.hpp"
#include "kernels/row_marks.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear/interleave.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
/// For each pattern of eight marks and each lane, how many marks there are before it: which of the next marked numbers
/// goes there. With the opposite pattern, which of the others.
struct Ranks {
  alignas(8) std::uint8_t of[256][8] = {};

  constexpr Ranks() {
    for (int pattern = 0; pattern < 256; ++pattern) {
      for (int lane = 1; lane < 8; ++lane) {
        of[pattern][lane] = static_cast<std::uint8_t>(of[pattern][lane - 1] + (pattern >> (lane - 1) & 1));
      }
    }
  }
};
constexpr Ranks ranks;
#endif

void add_row(const float* HWY_RESTRICT marked, const float* HWY_RESTRICT others, const std::uint8_t* marks,
             float* HWY_RESTRICT y, index_t n) {
  index_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::CappedTag<float, 8> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<std::uint8_t, decltype(d)> bytes;
  constexpr index_t lanes = hn::MaxLanes(d);
  const auto bits = hn::Shl(hn::Set(di, 1), hn::Iota(di, 0));
  const auto pick = [&](const float* from, unsigned pattern) HWY_ATTR {
    const auto indices = hn::PromoteTo(di, hn::LoadU(bytes, ranks.of[pattern]));
    return hn::TableLookupLanes(hn::LoadU(d, from), hn::IndicesFromVec(d, indices));
  };
  constexpr unsigned all = (1u << lanes) - 1;
  for (; i + lanes <= n; i += lanes) {
    const unsigned pattern = static_cast<unsigned>(marks[i / 8] >> (i % 8)) & all;
    const auto is_marked = hn::RebindMask(d, hn::TestBit(hn::Set(di, static_cast<std::int32_t>(pattern)), bits));
    const auto next = hn::IfThenElse(is_marked, pick(marked, pattern), pick(others, ~pattern & all));
    hn::StoreU(hn::Add(hn::LoadU(d, y + i), next), d, y + i);
    const int count = std::popcount(pattern);
    marked += count;
    others += lanes - count;
  }
#endif
  for (; i < n; ++i) y[i] += is_marked(marks, i) ? *marked++ : *others++;
}

void add_rows(MatrixView<const float> marked, MatrixView<const float> others, const std::uint8_t* marks,
              MatrixView<float> y) {
  for (index_t t = 0; t < y.rows; ++t) add_row(marked.row(t), others.row(t), marks, y.row(t), y.cols);
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {

HWY_EXPORT(add_rows);

void add_interleaved(MatrixView<const float> marked, MatrixView<const float> others, const std::uint8_t* marks,
                     MatrixView<float> y) {
  HWY_DYNAMIC_DISPATCH(add_rows)(marked, others, marks, y);
}

}  // namespace hack::kernels
#endif
