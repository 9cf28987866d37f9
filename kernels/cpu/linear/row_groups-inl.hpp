// What products of few tokens have in common: rows by fours, tokens by fours. Included once for each instruction set,
// hence the guard that toggles.

#if defined(HACK_KERNELS_CPU_LINEAR_ROW_GROUPS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef HACK_KERNELS_CPU_LINEAR_ROW_GROUPS_INL
#undef HACK_KERNELS_CPU_LINEAR_ROW_GROUPS_INL
#else
#define HACK_KERNELS_CPU_LINEAR_ROW_GROUPS_INL
#endif

#include <algorithm>

#include "kernels/cpu/codec/codecs-inl.hpp"
#include "kernels/matrix_view.hpp"

// A lambda that is compiled into the loop that calls it: else every row's sums would go through memory.
#undef HACK_INLINE_LAMBDA
#define HACK_INLINE_LAMBDA HWY_ATTR __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

/// Asks for the lines of some bytes that are a page further on: a core has more reads on their way then than the
/// hardware's prefetcher gives it, which moreover stops at a page's end.
HWY_INLINE void prefetch_ahead(const std::byte* from, index_t bytes) {
  constexpr index_t ahead = 4096, line = 64;
  for (index_t i = 0; i < bytes; i += line) __builtin_prefetch(from + ahead + i);
}

constexpr index_t rows_at_once = 4;

/// y (T, rows) = or += x wᵀ, where dot(numbers of rows_at_once rows, out) makes the partial sums of these rows, lane by
/// lane, for T tokens, and sum_lanes(of one token, out) adds up the lanes. Sums are multiplied by the scales of rows
/// where the codec has them.
template <index_t T, class C, class V, class Rows, class Dot, class SumLanes>
HWY_INLINE void dot_rows(const Rows& w, MatrixView<float> y, bool add, const Dot& dot, const SumLanes& sum_lanes) {
  for (index_t i = 0; i < y.cols; i += rows_at_once) {
    const index_t rows = std::min(rows_at_once, y.cols - i);
    index_t numbers[rows_at_once];
#pragma GCC unroll 4
    for (index_t r = 0; r < rows_at_once; ++r) numbers[r] = i + std::min(r, rows - 1);
    V sums[T][rows_at_once];
    dot(numbers, sums);
#pragma GCC unroll 4
    for (index_t t = 0; t < T; ++t) {
      HWY_ALIGN float out[rows_at_once];
      sum_lanes(sums[t], out);
      if constexpr (scales_rows<C>) C::scale_sums(w.row_scales(i), rows, out);
      float* to = &y(t, i);
#if HWY_TARGET != HWY_SCALAR
      if (rows == rows_at_once) {
        const hn::Full128<float> d;
        const auto sum = hn::Load(d, out);
        hn::StoreU(add ? hn::Add(hn::LoadU(d, to), sum) : sum, d, to);
        continue;
      }
#endif
      for (index_t r = 0; r < rows; ++r) to[r] = add ? to[r] + out[r] : out[r];
    }
  }
}

/// Calls f.operator()<T>(first token, first row, rows) for at most four tokens at a time. Beyond four tokens w is read
/// again, from L2: hence blocks of its rows.
template <class F>
HWY_INLINE void for_few_tokens(index_t tokens, index_t rows, const F& f) {
  const index_t block = tokens <= 4 ? rows : 64;
  for (index_t i = 0; i < rows; i += block) {
    const index_t count = std::min(block, rows - i);
    for (index_t t = 0; t < tokens; t += 4) {
      switch (tokens - t) {
        case 1:
          f.template operator()<1>(t, i, count);
          break;
        case 2:
          f.template operator()<2>(t, i, count);
          break;
        case 3:
          f.template operator()<3>(t, i, count);
          break;
        default:
          f.template operator()<4>(t, i, count);
          break;
      }
    }
  }
}

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
