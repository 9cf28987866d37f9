// The matrix product of AMX: tdpbf16ps adds the product of two tiles of 16 × 32 bf16 numbers to 16 × 16 sums, sixteen
// times the flops a cycle of an f32 multiply-add of AVX-512.

#include "kernels/cpu/linear/amx_product.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define HACK_AMX __attribute__((target("amx-tile,amx-bf16")))
#endif

namespace hack::kernels {

#if defined(__x86_64__) && defined(__linux__)
namespace {

constexpr index_t half = amx_rows / 2;  // rows, and sums of a row, in a register
static_assert(gemm_panel % amx_cols == 0 && gemm_depth % amx_lanes == 0);
static_assert(amx_rows <= max_tile_rows && amx_cols <= max_tile_cols);

// Registers 0 to 3 are sums: rows 0 to 15 and 16 to 31, the left and right half of each. The intrinsics are assembly
// that states no memory it reads: `order` keeps what was written before them before them.
void order() { asm volatile("" ::: "memory"); }

HACK_AMX void clear_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

/// The sums of rows `first` to `first` + 15 from or to c (16, amx_cols).
template <index_t First>
HACK_AMX void load_sums(const float* c, index_t bytes) {
  if constexpr (First == 0) {
    _tile_loadd(0, c, bytes);
    _tile_loadd(1, c + half, bytes);
  } else {
    _tile_loadd(2, c, bytes);
    _tile_loadd(3, c + half, bytes);
  }
}
template <index_t First>
HACK_AMX void store_sums(float* c, index_t bytes) {
  if constexpr (First == 0) {
    _tile_stored(0, c, bytes);
    _tile_stored(1, c + half, bytes);
  } else {
    _tile_stored(2, c, bytes);
    _tile_stored(3, c + half, bytes);
  }
}

/// c (R, amx_cols) = or += a (R, lanes) b (lanes, amx_cols); a with row_stride, b packed, both with zeros up to a
/// multiple of amx_lanes. Rows of a beyond R are read, and what they give is dropped.
template <index_t R>
HACK_AMX void multiply_tile(const float* a, const float* b, index_t lanes, float* c, index_t ldc, bool add) {
  constexpr bool is_tall = R > half;
  constexpr index_t first = is_tall ? half : 0;  // of the rows that may be fewer than a register has
  constexpr bool is_cut = R % half != 0;
  constexpr index_t stride = row_stride * sizeof(float);
  alignas(64) float edge[is_cut ? half * amx_cols : 1];
  float* last = is_cut ? edge : c + first * ldc;
  const index_t bytes = ldc * static_cast<index_t>(sizeof(float));
  const index_t last_bytes = is_cut ? amx_cols * static_cast<index_t>(sizeof(float)) : bytes;
  if (is_cut && add) {
    for (index_t r = first; r < R; ++r) std::copy_n(c + r * ldc, amx_cols, edge + (r - first) * amx_cols);
  }
  order();
  if (add) {
    if (is_tall) load_sums<0>(c, bytes);
    load_sums<first>(last, last_bytes);
  } else {
    clear_sums();
  }
  for (index_t p = 0; p < lanes; p += amx_lanes) {
    _tile_loadd(6, b + p * amx_cols, amx_cols * sizeof(float));
    _tile_loadd(7, b + p * amx_cols + half, amx_cols * sizeof(float));
    _tile_loadd(4, a + p, stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (is_tall) {
      _tile_loadd(5, a + half * row_stride + p, stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  if (is_tall) store_sums<0>(c, bytes);
  store_sums<first>(last, last_bytes);
  order();
  if (is_cut) {
    for (index_t r = first; r < R; ++r) std::copy_n(edge + (r - first) * amx_cols, amx_cols, c + r * ldc);
  }
}

template <std::size_t... R>
constexpr std::array<MicroKernel::Multiply, amx_rows> tile_functions(std::index_sequence<R...>) {
  return {&multiply_tile<static_cast<index_t>(R) + 1>...};
}
constexpr auto multiply_rows = tile_functions(std::make_index_sequence<amx_rows>());

/// What ldtilecfg reads.
struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfiguration) == 64);

HACK_AMX void load(const TileConfiguration& configuration) { _tile_loadconfig(&configuration); }

HACK_AMX void release() { _tile_release(); }

/// The tile registers are part of a process's state only where it asks Linux for them; threads inherit the answer.
bool ask_for_tiles() {
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

bool cpu_has_amx() {
  constexpr unsigned bf16 = 1u << 22, tile = 1u << 24;  // of leaf 7's edx
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & bf16) != 0 && (edx & tile) != 0;
}

}  // namespace

bool has_amx() {
  static const bool has = cpu_has_amx() && ask_for_tiles();
  return has;
}

AmxTiles::AmxTiles() {
  static constexpr TileConfiguration configuration;
  load(configuration);
}

AmxTiles::~AmxTiles() { release(); }

const MicroKernel::Multiply* amx_multiply() { return multiply_rows.data(); }

#else

bool has_amx() { return false; }
AmxTiles::AmxTiles() { HACK_EXPECT(false); }
AmxTiles::~AmxTiles() = default;
const MicroKernel::Multiply* amx_multiply() { return nullptr; }

#endif

}  // namespace hack::kernels
