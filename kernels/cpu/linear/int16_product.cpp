// Products of many tokens in integers: vpmaddwd adds two products of 16-bit numbers to each of eight sums, twice the
// numbers of an f32 multiply-add. Codes have at most eight bits and tokens are rounded to 16, so that the sum over a
// block of 32 numbers fits 32 bits: 32 * 128 * 32767 < 2^31.

#include "kernels/cpu/linear/int16_product.hpp"

#include <algorithm>
#include <cstring>

#define HACK_SIMD_UP_TO_AVX2
#include "kernels/cpu/simd.hpp"

#include "kernels/cpu/linear/panel_walk.hpp"
#include "kernels/cpu/memory/scratch.hpp"
#include "kernels/cpu/team.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear/int16_product.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/codec/code_dot-inl.hpp"
#include "kernels/cpu/codec/codecs-inl.hpp"
#include "kernels/cpu/linear/round_tokens-inl.hpp"
#include "kernels/cpu/linear/row_reader-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace hack::kernels::HWY_NAMESPACE {

#if HACK_HAS_CODE_DOT

// A lane holds two numbers. A block of 32 has 16 lanes of codes, one of scales and one of what belongs to minima: of x
// the sum of the block, of w the minimum. Where each 16 numbers of w have a scale, the last two lanes are the scales.
constexpr index_t code_lanes = 16;
constexpr index_t block_lanes = code_lanes + 2;
static_assert(2 * block_lanes == Int16Rows::block);

// A product of tile_rows tokens with tile_cols rows of w: 8 sums, two vectors of w, and what is multiplied and added.
// With 10 sums GCC runs out of the 16 registers.
constexpr index_t tile_rows = 4;
constexpr index_t tile_cols = 16;
constexpr index_t half_cols = 8;

static_assert(tile_rows <= max_tile_rows && gemm_panel % tile_cols == 0);

/// What a block of w has beside its codes.
enum class BlockScales { one, one_and_minimum, two };

template <class C>
constexpr BlockScales scales_of() {
  if constexpr (scales_rows<C>) {
    return BlockScales::one;
  } else if constexpr (has_half_scales<C>) {
    return BlockScales::two;
  } else {
    return C::has_minima ? BlockScales::one_and_minimum : BlockScales::one;
  }
}

/// Sums of codes of R tokens.
template <index_t R>
using CodeSums = __m256i[R][2];

/// Keeps GCC from moving products of later tokens before these sums: it would run out of registers, and a sum that goes
/// through memory in every lane costs a third of the rate.
HWY_INLINE void keep_order(__m256i& a, __m256i& b) { asm volatile("" : "+x"(a), "+x"(b)); }

/// sums[r] += codes of token r times codes of w, over some lanes.
template <index_t R>
HWY_INLINE void add_lanes(const float* x, const float* w, index_t lanes, CodeSums<R>& sums) {
#pragma GCC unroll 8
  for (index_t p = 0; p < lanes; ++p) {
    const __m256i left = load_bytes(w + p * tile_cols), right = load_bytes(w + p * tile_cols + half_cols);
#pragma GCC unroll 4
    for (index_t r = 0; r < R; ++r) {
      const __m256i factor = _mm256_castps_si256(_mm256_broadcast_ss(x + r * row_stride + p));
      sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(factor, left));
      sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(factor, right));
      keep_order(sums[r][0], sums[r][1]);
    }
  }
}

/// Eight of `out` += a b.
HWY_INLINE void add_product(__m256 a, __m256 b, float* out) {
  _mm256_store_ps(out, _mm256_fmadd_ps(a, b, _mm256_load_ps(out)));
}

/// out (R, tile_cols) += sums of codes times d of x and d of w.
template <index_t R>
HWY_INLINE void add_scaled(const CodeSums<R>& sums, const float* d, const float* w_scales, float* out) {
  const __m256 left = _mm256_load_ps(w_scales), right = _mm256_load_ps(w_scales + half_cols);
#pragma GCC unroll 4
  for (index_t r = 0; r < R; ++r, out += tile_cols) {
    const __m256 of_x = _mm256_broadcast_ss(d + r * row_stride);
    add_product(_mm256_cvtepi32_ps(sums[r][0]), _mm256_mul_ps(of_x, left), out);
    add_product(_mm256_cvtepi32_ps(sums[r][1]), _mm256_mul_ps(of_x, right), out + half_cols);
  }
}

/// out (R, tile_cols) += sums of x times minima of w.
template <index_t R>
HWY_INLINE void add_minima(const float* sums, const float* minima, float* out) {
  const __m256 left = _mm256_load_ps(minima), right = _mm256_load_ps(minima + half_cols);
#pragma GCC unroll 4
  for (index_t r = 0; r < R; ++r, out += tile_cols) {
    const __m256 sum = _mm256_broadcast_ss(sums + r * row_stride);
    add_product(left, sum, out);
    add_product(right, sum, out + half_cols);
  }
}

/// c (R, tile_cols) = or += x (R, lanes) w (lanes, tile_cols); x with row_stride, w packed.
template <index_t R, BlockScales scales>
void multiply_tile(const float* HWY_RESTRICT x, const float* HWY_RESTRICT w, index_t lanes, float* HWY_RESTRICT c,
                   index_t ldc, bool add) {
  alignas(32) float out[R * tile_cols];  // in memory: registers hold the sums of codes
#pragma GCC unroll 4
  for (index_t r = 0; r < R; ++r) {
    for (index_t i = 0; i < tile_cols; i += half_cols) _mm256_store_ps(out + r * tile_cols + i, _mm256_setzero_ps());
    __builtin_prefetch(c + r * ldc, 1);
  }
  constexpr index_t sharing = scales == BlockScales::two ? code_lanes / 2 : code_lanes;  // lanes with one scale
  for (index_t p = 0; p < lanes; p += block_lanes, x += block_lanes, w += block_lanes * tile_cols) {
#pragma GCC unroll 1
    for (index_t first = 0; first < code_lanes; first += sharing) {
      CodeSums<R> sums;
#pragma GCC unroll 4
      for (index_t r = 0; r < R; ++r) sums[r][0] = sums[r][1] = _mm256_setzero_si256();
      add_lanes<R>(x + first, w + first * tile_cols, sharing, sums);
      add_scaled<R>(sums, x + code_lanes, w + (code_lanes + first / sharing) * tile_cols, out);
    }
    if constexpr (scales == BlockScales::one_and_minimum)
      add_minima<R>(x + code_lanes + 1, w + (code_lanes + 1) * tile_cols, out);
  }
#pragma GCC unroll 4
  for (index_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (index_t i = 0; i < 2; ++i) {
      float* to = c + r * ldc + i * half_cols;
      const __m256 sum = _mm256_load_ps(out + r * tile_cols + i * half_cols);
      _mm256_storeu_ps(to, add ? _mm256_add_ps(_mm256_loadu_ps(to), sum) : sum);
    }
  }
}

template <BlockScales scales>
constexpr MicroKernel::Multiply multiply_rows[] = {&multiply_tile<1, scales>, &multiply_tile<2, scales>,
                                                   &multiply_tile<3, scales>, &multiply_tile<4, scales>};  // [R - 1]

/// Passes end where steps of codes do, of two blocks at most, and are no longer than left operands may be.
template <BlockScales scales>
constexpr MicroKernel micro_kernel{.rows = tile_rows,
                                   .cols = tile_cols,
                                   .numbers = 2,
                                   .step = block_lanes,
                                   .multiply = multiply_rows<scales>,
                                   .unit = 2 * Int16Rows::block,
                                   .depth = 18 * block_lanes};
static_assert(18 * block_lanes <= row_stride);

/// Transposes 8 × 8 lanes in registers.
HWY_INLINE void transpose_lanes(__m256i (&row)[8]) {
  __m256i t[8];
#pragma GCC unroll 4
  for (index_t i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(row[i], row[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(row[i], row[i + 1]);
  }
  __m256i u[8];  // u[4 g + i]: columns i and i + 4 of rows 4 g … 4 g + 3
#pragma GCC unroll 2
  for (index_t i = 0; i < 8; i += 4) {
    u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (index_t i = 0; i < 4; ++i) {
    row[i] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x20);
    row[i + 4] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x31);
  }
}

/// Codes of a step's blocks in their order, as bytes.
HWY_INLINE void put_in_order(__m256i codes, __m256i (&blocks)[1]) { blocks[0] = codes; }
HWY_INLINE void put_in_order(const NibblePair& codes, __m256i (&blocks)[2]) {
  blocks[0] = _mm256_permute2x128_si256(codes.low, codes.high, 0x20);
  blocks[1] = _mm256_permute2x128_si256(codes.low, codes.high, 0x31);
}

/// Where lane p of block b goes in a packed tile.
HWY_INLINE float* packed_lane(float* to, index_t b, index_t p) { return to + (b * block_lanes + p) * tile_cols; }

/// Packs codes of eight rows, of blocks [first, last); first is a step's.
template <class C>
HWY_INLINE void pack_codes(const RowPointers<half_cols>& rows, index_t first, index_t last, float* to) {
  for (index_t b = first; b < last; b += C::dot_blocks) {
    __m256i lanes[C::dot_blocks][2][half_cols];
#pragma GCC unroll 8
    for (index_t r = 0; r < half_cols; ++r) {
      __m256i bytes[C::dot_blocks];
      put_in_order(C::load_codes(rows.codes[r] + b / C::dot_blocks * RowBytes<C>::step_codes), bytes);
      for (index_t k = 0; k < C::dot_blocks; ++k) {
        lanes[k][0][r] = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes[k]));
        lanes[k][1][r] = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(bytes[k], 1));
      }
    }
    for (index_t k = 0; k < std::min(C::dot_blocks, last - b); ++k) {
      for (index_t half = 0; half < 2; ++half) {
        transpose_lanes(lanes[k][half]);
        for (index_t p = 0; p < 8; ++p) {
          float* lane = packed_lane(to, b + k - first, half * 8 + p);
          _mm256_store_si256(reinterpret_cast<__m256i*>(lane), lanes[k][half][p]);
        }
      }
    }
  }
}

/// Packs scales of eight rows, and minima.
template <class C>
HWY_INLINE void pack_scales(const RowPointers<half_cols>& rows, index_t first, index_t last, float* to) {
  for (index_t group = first / scale_group * scale_group; group < last; group += scale_group) {
    __m256i d[8], others[8];  // [row], then [block]; or both hold [half block] of four blocks
    for (index_t r = 0; r < half_cols; ++r) {
      __m256 other = _mm256_setzero_ps();
      d[r] =
          _mm256_castps_si256(C::load_scales(rows.scales[r] + group / scale_group * RowBytes<C>::group_scales, other));
      others[r] = _mm256_castps_si256(other);
    }
    transpose_lanes(d);
    transpose_lanes(others);
    for (index_t b = std::max(group, first); b < std::min(group + scale_group, last); ++b) {
      const index_t i = b - group;
      __m256i of_block[2] = {d[i], others[i]};
      if constexpr (scales_of<C>() == BlockScales::two) {
        const auto& four = i < 4 ? d : others;
        of_block[0] = four[i % 4 * 2];
        of_block[1] = four[i % 4 * 2 + 1];
      }
      for (index_t k = 0; k < 2; ++k) {
        float* lane = packed_lane(to, b - first, code_lanes + k);
        _mm256_store_si256(reinterpret_cast<__m256i*>(lane), of_block[k]);
      }
    }
  }
}

/// Packs rows [j, j + n) of w, and as many copies of the last as a tile lacks.
template <class C>
void pack_tile(const WeightView<>& w, const RowReader<C>& reader, index_t j, index_t n, index_t first, index_t last,
               float* to) {
  for (index_t half = 0; half < tile_cols; half += half_cols) {
    index_t numbers[half_cols];
    for (index_t r = 0; r < half_cols; ++r) numbers[r] = j + std::min(half + r, n - 1);
    const RowPointers<half_cols> rows = reader.template rows<half_cols>(numbers);
    pack_codes<C>(rows, first, last, to + half);
    if constexpr (scales_rows<C>) {
      alignas(32) float d[half_cols];
      for (index_t r = 0; r < half_cols; ++r) d[r] = C::scale(w.scales, numbers[r]);
      for (index_t b = 0; b < last - first; ++b)
        _mm256_store_ps(packed_lane(to + half, b, code_lanes), _mm256_load_ps(d));
    } else {
      pack_scales<C>(rows, first, last, to + half);
    }
  }
}

template <class C>
void multiply_codes(MatrixView<const std::int16_t> x, const WeightView<>& w, MatrixView<float> y, Write write,
                    PanelScratch& panels, Scratch& last_rows) {
  const RowReader<C> reader(w, half_cols, last_rows);
  walk_panels(micro_kernel<scales_of<C>()>, x, y, write, panels,
              [&](index_t j, index_t n, index_t p, index_t k, float* to)
                  HWY_ATTR { pack_tile<C>(w, reader, j, n, p / Int16Rows::block, (p + k) / Int16Rows::block, to); });
}

/// False, and nothing done, where the codec is not one of these; y may have no rows.
bool int16_product(MatrixView<const std::int16_t> x, WeightView<> w, MatrixView<float> y, Write write,
                   PanelScratch& panels, Scratch& last_rows) {
  return with_dot_codec(w.codec, [&]<class C>(C) HWY_ATTR {
    if (y.rows > 0) multiply_codes<C>(x, w, y, write, panels, last_rows);
  });
}

/// Rounds 32 numbers; d is NaN where one of them is not finite.
HWY_INLINE void round_to_int16(const float* x, std::int16_t* to) {
  __m256 v[4];
  const float largest = load_and_find_largest(x, v);
  const RoundingStep step = RoundingStep::of(largest, 32767);
  __m256i q[4];
  step.round(v, q);
  for (index_t i = 0; i < 4; i += 2) {
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(q[i], q[i + 1]), 0b11011000);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8 * i), packed);
  }
  const float last[2] = {step.d, step.d * static_cast<float>(sum_of(q))};
  std::memcpy(to + rounded_block, last, sizeof(last));
}

void round_row_to_int16(const float* x, index_t n, std::int16_t* to) {
  for (index_t at = 0; at < n; at += rounded_block, to += Int16Rows::block) {
    alignas(32) float last[rounded_block] = {};
    if (n - at < rounded_block) std::copy_n(x + at, n - at, last);
    round_to_int16(n - at < rounded_block ? last : x + at, to);
  }
}

#else

bool int16_product(MatrixView<const std::int16_t>, WeightView<>, MatrixView<float>, Write, PanelScratch&, Scratch&) {
  return false;
}

void round_row_to_int16(const float*, index_t, std::int16_t*) { HACK_EXPECT(false); }

#endif  // HACK_HAS_CODE_DOT

}  // namespace hack::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hack::kernels {
namespace {

HWY_EXPORT(int16_product);
HWY_EXPORT(round_row_to_int16);

thread_local Scratch rounded_rows;  // of the thread that calls
thread_local PanelScratch panels;
thread_local Scratch last_rows;  // rows of w with room behind them

index_t places(index_t cols) { return (cols + 31) / 32 * Int16Rows::block; }

}  // namespace

bool has_int16_product(Codec codec) {
  static const bool has_wider_vectors = (hwy::SupportedTargets() & HWY_AVX3) != 0;
  return !has_wider_vectors &&
         HWY_DYNAMIC_DISPATCH(int16_product)({}, {.codec = codec}, {}, Write::replace, panels, last_rows);
}

Int16Rows::Int16Rows(Queue<Device::cpu>& queue, MatrixView<const float> x)
    : view_(reinterpret_cast<std::int16_t*>(rounded_rows.get(x.rows * rounded_stride(places(x.cols)) / 2)), x.rows,
            places(x.cols), rounded_stride(places(x.cols))) {
#pragma omp parallel for schedule(static) num_threads(team_size(queue, x.rows* x.cols * 4))
  for (index_t i = 0; i < x.rows; ++i) HWY_DYNAMIC_DISPATCH(round_row_to_int16)(x.row(i), x.cols, view_.row(i));
}

void multiply_transposed_int16(MatrixView<const std::int16_t> x, WeightView<> w, MatrixView<float> y, Write write) {
  if (finish_empty(x.cols, y, write)) return;
  HWY_DYNAMIC_DISPATCH(int16_product)(x, w, y, write, panels, last_rows);
}

void share_transposed_int16(Queue<Device::cpu>& queue, MatrixView<const float> x, WeightView<> w, MatrixView<float> y,
                            Write write) {
  for_each_rounded_block<Int16Rows>(queue, queue.threads(), x, y,
                                    [&](MatrixView<const std::int16_t> left, index_t col, MatrixView<float> out) {
                                      multiply_transposed_int16(left, w.rows_from(col, out.cols), out, write);
                                    });
}

}  // namespace hack::kernels
#endif
