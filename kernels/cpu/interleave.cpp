#include "kernels/cpu/interleave.hpp"

#include <bit>

#include "kernels/cpu/simd.hpp"
#include "kernels/row_marks.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/interleave.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
/// How four numbers are put together, for each pattern of four marks.
struct Patterns {
  alignas(16) std::int32_t from_marked[16][4] = {};  // which of the next marked numbers a lane takes
  alignas(16) std::int32_t from_others[16][4] = {};
  alignas(16) std::int32_t is_marked[16][4] = {};  // all bits or none

  constexpr Patterns() {
    for (int pattern = 0; pattern < 16; ++pattern) {
      int marked = 0, others = 0;
      for (int lane = 0; lane < 4; ++lane) {
        const bool is = (pattern >> lane & 1) != 0;
        from_marked[pattern][lane] = is ? marked++ : 0;
        from_others[pattern][lane] = is ? 0 : others++;
        is_marked[pattern][lane] = is ? -1 : 0;
      }
    }
  }
};
constexpr Patterns patterns;
#endif

void add_row(const float* HWY_RESTRICT marked, const float* HWY_RESTRICT others, const std::uint8_t* marks,
             float* HWY_RESTRICT y, index_t n) {
  index_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::Full128<float> d;
  const hn::Full128<std::int32_t> di;
  for (; i + 4 <= n; i += 4) {
    const int pattern = marks[i / 8] >> (i % 8) & 15;
    const auto left = hn::TableLookupLanes(hn::LoadU(d, marked), hn::SetTableIndices(d, patterns.from_marked[pattern]));
    const auto right =
        hn::TableLookupLanes(hn::LoadU(d, others), hn::SetTableIndices(d, patterns.from_others[pattern]));
    const auto is_marked = hn::MaskFromVec(hn::BitCast(d, hn::Load(di, patterns.is_marked[pattern])));
    hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::IfThenElse(is_marked, left, right)), d, y + i);
    const int count = std::popcount(static_cast<unsigned>(pattern));
    marked += count;
    others += 4 - count;
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
