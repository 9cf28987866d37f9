// The matrix product of AVX512_BF16: vdpbf16ps adds two products of bf16 pairs to each of 16 sums, twice the flops of
// an f32 multiply-add. Where the CPU has AMX, its tiles multiply what is packed here in the same way. The SIMD library
// of the other products knows neither, hence intrinsics.

#include "kernels/cpu/linear/bf16_product.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/cpu/linear/amx_product.hpp"
#include "kernels/cpu/linear/panel_walk.hpp"
#include "kernels/cpu/linear/row_math.hpp"
#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/cpu/team.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#define HACK_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#endif

namespace hack::kernels {

namespace {

thread_local Scratch rounded_rows;  // of the thread that calls

}  // namespace

#if defined(__x86_64__)
namespace {

// A 32-bit lane holds a pair of numbers that follow each other in a row; depths are counted in pairs.
constexpr index_t lanes = 16;
constexpr index_t tile_cols = 2 * lanes;
constexpr index_t tile_rows = 14;  // 28 sums, two vectors of the packed operand and one broadcast: 31 of 32 registers
static_assert(gemm_panel % tile_cols == 0 && gemm_depth % lanes == 0);
static_assert(tile_rows <= max_tile_rows && tile_cols <= max_tile_cols);
static_assert(tile_cols == amx_cols && lanes == amx_lanes);

thread_local PanelScratch panel_scratch;

/// c (R, tile_cols) = or += a (R, k) b (k, tile_cols); a with row_stride, b packed.
template <index_t R>
HACK_BF16 void multiply_tile(const float* __restrict a, const float* __restrict b, index_t k, float* __restrict c,
                             index_t ldc, bool add) {
  __m512 sums[R][2];
#pragma GCC unroll 16
  for (index_t r = 0; r < R; ++r) {
    sums[r][0] = sums[r][1] = _mm512_setzero_ps();
    __builtin_prefetch(c + r * ldc, 1);
    __builtin_prefetch(c + r * ldc + lanes, 1);
  }
  for (index_t p = 0; p < k; ++p) {
    const auto left = reinterpret_cast<__m512bh>(_mm512_load_ps(b + p * tile_cols));
    const auto right = reinterpret_cast<__m512bh>(_mm512_load_ps(b + p * tile_cols + lanes));
#pragma GCC unroll 16
    for (index_t r = 0; r < R; ++r) {
      const auto factor = reinterpret_cast<__m512bh>(_mm512_set1_ps(a[r * row_stride + p]));
      sums[r][0] = _mm512_dpbf16_ps(sums[r][0], factor, left);
      sums[r][1] = _mm512_dpbf16_ps(sums[r][1], factor, right);
    }
  }
#pragma GCC unroll 16
  for (index_t r = 0; r < R; ++r) {
    float* row = c + r * ldc;
    if (add) {
      sums[r][0] = _mm512_add_ps(_mm512_loadu_ps(row), sums[r][0]);
      sums[r][1] = _mm512_add_ps(_mm512_loadu_ps(row + lanes), sums[r][1]);
    }
    _mm512_storeu_ps(row, sums[r][0]);
    _mm512_storeu_ps(row + lanes, sums[r][1]);
  }
}

template <std::size_t... R>
constexpr std::array<MicroKernel::Multiply, tile_rows> tile_functions(std::index_sequence<R...>) {
  return {&multiply_tile<static_cast<index_t>(R) + 1>...};
}
constexpr auto multiply_rows = tile_functions(std::make_index_sequence<tile_rows>());  // [R - 1]

/// Transposes 16 × 16 lanes in registers.
HACK_BF16 inline void transpose_lanes(__m512i (&row)[lanes]) {
  __m512i t[lanes];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    row[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    row[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    row[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    row[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {  // now row[4 g + i] has columns i, i + 4, i + 8, i + 12 of rows 4 g …
    const __m512i low = _mm512_shuffle_i32x4(row[i], row[i + 4], 0x88);
    const __m512i high = _mm512_shuffle_i32x4(row[i], row[i + 4], 0xdd);
    const __m512i low2 = _mm512_shuffle_i32x4(row[i + 8], row[i + 12], 0x88);
    const __m512i high2 = _mm512_shuffle_i32x4(row[i + 8], row[i + 12], 0xdd);
    t[i] = _mm512_shuffle_i32x4(low, low2, 0x88);
    t[i + 8] = _mm512_shuffle_i32x4(low, low2, 0xdd);
    t[i + 4] = _mm512_shuffle_i32x4(high, high2, 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(high, high2, 0xdd);
  }
  for (int i = 0; i < 16; ++i) row[i] = t[i];
}

/// Loads the first `count` numbers at `from`, 32 of them if there are more, zeros beyond.
HACK_BF16 inline __m512i load_numbers(const bf16* from, index_t count) {
  if (count >= 2 * lanes) return _mm512_loadu_si512(from);
  return _mm512_maskz_loadu_epi16((__mmask32{1} << count) - 1, from);
}

/// Loads the first `count` numbers at `from`, 16 of them if there are more, zeros beyond.
HACK_BF16 inline __m512 load_floats(const float* from, index_t count) {
  if (count >= lanes) return _mm512_loadu_ps(from);
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << std::max(count, index_t{0})) - 1), from);
}

/// Rounds to nearest, ties to even.
HACK_BF16 inline __m512i load_numbers(const float* from, index_t count) {
  return reinterpret_cast<__m512i>(
      _mm512_cvtne2ps_pbh(load_floats(from + lanes, count - lanes), load_floats(from, count)));
}

/// packed[p][i] = pair p of rows[i] for i < n, zero up to tile_cols and, in p, up to `pairs`; rows (n, k numbers) with
/// leading dimension ld.
template <class T>
HACK_BF16 void pack_rows(const T* rows, index_t ld, index_t n, index_t k, index_t pairs, float* __restrict packed) {
  for (index_t p = 0; p < pairs; p += lanes) {
    for (index_t first = 0; first < tile_cols; first += lanes) {
      __m512i block[lanes];
      for (index_t i = 0; i < lanes; ++i) {
        const T* row = rows + (first + i) * ld + 2 * p;
        block[i] = first + i < n ? load_numbers(row, k - 2 * p) : _mm512_setzero_si512();
        __builtin_prefetch(row + tile_cols * ld);  // the next tile's
      }
      transpose_lanes(block);
      const index_t count = std::min(lanes, pairs - p);
      for (index_t i = 0; i < count; ++i) _mm512_store_si512(packed + (p + i) * tile_cols + first, block[i]);
    }
  }
}

/// packed[p][i] = numbers 2 p and 2 p + 1 of column i for i < n, zero up to tile_cols and, in p, up to `pairs`; rows
/// (k, n) with leading dimension ld.
HACK_BF16 void pack_cols(const float* rows, index_t ld, index_t n, index_t k, index_t pairs, float* __restrict packed) {
  alignas(64) static constexpr std::uint16_t order[2 * lanes] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                                 21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                                 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i interleaved = _mm512_load_si512(order);
  for (index_t p = 0; p < k; p += 2) {
    const float* even = rows + p * ld;
    for (index_t c = 0; c < tile_cols; c += lanes) {
      const __m512 odd = p + 1 < k ? load_floats(even + ld + c, n - c) : _mm512_setzero_ps();
      const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, load_floats(even + c, n - c)));
      _mm512_store_si512(packed + p / 2 * tile_cols + c, _mm512_permutexvar_epi16(interleaved, both));
    }
  }
  const index_t packed_pairs = (k + 1) / 2;
  std::fill_n(packed + packed_pairs * tile_cols, (pairs - packed_pairs) * tile_cols, 0.0f);
}

/// Stores the first `count` numbers, 32 if there are more.
HACK_BF16 inline void store_numbers(bf16* to, index_t count, __m512i numbers) {
  if (count >= 2 * lanes) {
    _mm512_storeu_si512(to, numbers);
  } else {
    _mm512_mask_storeu_epi16(to, (__mmask32{1} << count) - 1, numbers);
  }
}

constexpr MicroKernel avx512_product{tile_rows, tile_cols, 2, 1, multiply_rows.data()};

/// pack(j, n, p, k, lanes of k, to) as in walk_panels().
template <class Pack>
void multiply_packed(Bf16Unit unit, MatrixView<const bf16> x, MatrixView<float> y, Write write, const Pack& pack) {
  if (finish_empty(x.cols, y, write)) return;
  const auto walk = [&](const MicroKernel& tile) {
    walk_panels(tile, x, y, write, panel_scratch,
                [&](index_t j, index_t n, index_t p, index_t k, float* to) { pack(j, n, p, k, tile.lanes(k), to); });
  };
  if (unit == Bf16Unit::amx) {
    const AmxTiles tiles;
    walk({amx_rows, amx_cols, 2, amx_lanes, amx_multiply()});
  } else {
    walk(avx512_product);
  }
}

}  // namespace

bool has_bf16_unit(Bf16Unit unit) {
  static const bool has_avx512 = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
                                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return has_avx512 && (unit == Bf16Unit::avx512 || has_amx());
}

void multiply_transposed_bf16(Bf16Unit unit, MatrixView<const bf16> x, WeightView<> w, MatrixView<float> y,
                              Write write) {
  const auto multiply = [&](const auto* numbers) {
    multiply_packed(unit, x, y, write, [&](index_t j, index_t n, index_t p, index_t k, index_t pairs, float* to) {
      pack_rows(numbers + j * w.ld + p, w.ld, n, k, pairs, to);
    });
  };
  if (w.codec == Codec::bf16) return multiply(static_cast<const bf16*>(w.data));
  if (w.codec == Codec::f32) return multiply(static_cast<const float*>(w.data));
  multiply_packed(unit, x, y, write, [&](index_t j, index_t n, index_t p, index_t k, index_t pairs, float* to) {
    float* wide = panel_scratch.widened(tile_cols, k);
    for (index_t i = 0; i < n; ++i) widen_row(w, j + i, p, k, wide + i * k);
    pack_rows(wide, k, n, k, pairs, to);
  });
}

void multiply_bf16(Bf16Unit unit, MatrixView<const bf16> x, MatrixView<const float> b, MatrixView<float> y,
                   Write write) {
  multiply_packed(unit, x, y, write, [&](index_t j, index_t n, index_t p, index_t k, index_t pairs, float* to) {
    pack_cols(b.row(p) + j, b.ld, n, k, pairs, to);
  });
}

HACK_BF16 void round_row(const float* from, index_t n, bf16* to) {
  for (index_t i = 0; i < n; i += 2 * lanes) store_numbers(to + i, n - i, load_numbers(from + i, n - i));
}

HACK_BF16 void scale_and_round(const float* from, const float* scale, index_t n, bf16* to) {
  for (index_t i = 0; i < n; i += 2 * lanes) {
    const index_t count = n - i;
    const __m512 low = _mm512_mul_ps(load_floats(from + i, count), load_floats(scale + i, count));
    const __m512 high =
        _mm512_mul_ps(load_floats(from + i + lanes, count - lanes), load_floats(scale + i + lanes, count - lanes));
    store_numbers(to + i, count, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
  }
}

#else

void round_row(const float*, index_t, bf16*) { HACK_EXPECT(false); }

void scale_and_round(const float*, const float*, index_t, bf16*) { HACK_EXPECT(false); }

bool has_bf16_unit(Bf16Unit) { return false; }

void multiply_transposed_bf16(Bf16Unit, MatrixView<const bf16>, WeightView<>, MatrixView<float>, Write) {
  HACK_EXPECT(false);
}

void multiply_bf16(Bf16Unit, MatrixView<const bf16>, MatrixView<const float>, MatrixView<float>, Write) {
  HACK_EXPECT(false);
}

#endif

bool has_bf16_product() { return has_bf16_unit(Bf16Unit::avx512); }

Bf16Unit best_bf16_unit() { return has_bf16_unit(Bf16Unit::amx) ? Bf16Unit::amx : Bf16Unit::avx512; }

bool is_multiplied_in_bf16(const Queue<Device::cpu>& queue, Codec codec) {
  const bool may_be_rounded = codec == Codec::bf16 || (has_scales(codec) && queue.products() == Products::fast);
  return may_be_rounded && has_bf16_product();
}

RoundedRows::RoundedRows(Queue<Device::cpu>& queue, MatrixView<const float> x)
    : view_(reinterpret_cast<bf16*>(rounded_rows.get(x.rows * rounded_stride(x.cols) / 2)), x.rows, x.cols,
            rounded_stride(x.cols)) {
#pragma omp parallel for schedule(static) num_threads(team_size(queue, x.rows* x.cols * 4))
  for (index_t i = 0; i < x.rows; ++i) round_row(x.row(i), x.cols, view_.row(i));
}

void share_transposed(Queue<Device::cpu>& queue, int threads, MatrixView<const float> x, WeightView<> w,
                      MatrixView<float> y, Write write, bool rounds) {
  if (rounds) {
    for_each_rounded_block<RoundedRows>(
        queue, threads, x, y, [&](MatrixView<const bf16> left, index_t col, MatrixView<float> out) {
          multiply_transposed_bf16(best_bf16_unit(), left, w.rows_from(col, out.cols), out, write);
        });
    return;
  }
  for_each_block(threads, y.rows, y.cols, [&](index_t row, index_t rows, index_t col, index_t cols) {
    multiply_transposed(x.rows_from(row, rows), w.rows_from(col, cols), y.block(row, col, rows, cols), write);
  });
}

}  // namespace hack::kernels
