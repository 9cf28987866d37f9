#pragma once

#include <array>
#include <span>
#include <string_view>

#include "kernels/dtype.hpp"

namespace hack {

/// How the numbers of a matrix's row are encoded: as codes, and with some codecs scales that a block of them shares.
/// Codes and scales lie apart, so that both can be loaded aligned.
enum class Codec : std::uint8_t {
  f32,
  bf16,
  f16,
  int8,
  q8_0,
  q5_1,
  q5_0,
  q4_1,
  q4_0,
  iq4_nl,
  q3_64,
  q2_64,
  q6_k,
  q5_k,
  q4_k
};

/// What codes stand for, times d; of iq4_nl GGML's. q3_64's lie where numbers with a normal distribution, fitted in
/// blocks of 64, are rounded with the least mean square. A sum of four products with 64 or less and int8 fits 16 bits.
inline constexpr std::array<std::int8_t, 16> iq4_nl_levels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                              1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr std::array<std::int8_t, 8> q3_levels = {-64, -39, -22, -7, 7, 22, 39, 64};
inline constexpr std::array<std::int8_t, 4> q2_levels = {-63, -21, 21, 63};

/// What there is to know of a codec without computing with it. Everything that counts, places or names encoded numbers
/// reads this table.
struct CodecSpec {
  Codec codec;
  std::string_view name;    ///< as in options, reports and archives
  index_t code_bits = 0;    ///< of each number
  index_t block = 0;        ///< numbers of a row that share scales; 0: all of the row
  index_t scale_bytes = 0;  ///< of a block's scales; 0: the codec has none
  DType scale_type = DType::bf16;
  bool has_signed_scales = false;
  int zero = 0;                              ///< of blocks of unsigned codes: the code that stands for 0
  std::span<const std::int8_t> levels = {};  ///< what codes stand for, times d; empty: themselves, less zero
  bool is_shifted = false;                   ///< d comes with a shift of the levels: ShiftedScale
  index_t groups = 0;                        ///< of a block whose numbers lie in groups with small scales of their own
};

/// In the order of the enumerators.
inline constexpr std::array codec_specs = {
    CodecSpec{Codec::f32, "f32", 32},
    CodecSpec{Codec::bf16, "bf16", 16},
    CodecSpec{Codec::f16, "f16", 16},
    // q · s with q = -127 … 127 and s in bf16, one s a row.
    CodecSpec{Codec::int8, "int8", 8, 0, 2},
    // GGML's: q · d with q = -127 … 127 and d in f16.
    CodecSpec{Codec::q8_0, "q8_0", 8, 32, 2, DType::f16},
    // GGML's: q d + m or (q - zero) d, unsigned q, d and m in f16.
    CodecSpec{Codec::q5_1, "q5_1", 5, 32, 4, DType::f16, true},
    CodecSpec{Codec::q5_0, "q5_0", 5, 32, 2, DType::f16, true, 16},
    CodecSpec{Codec::q4_1, "q4_1", 4, 32, 4, DType::f16, true},
    CodecSpec{Codec::q4_0, "q4_0", 4, 32, 2, DType::f16, true, 8},
    // GGML's: levels[q] · d.
    CodecSpec{Codec::iq4_nl, "iq4_nl", 4, 32, 2, DType::f16, true, 0, iq4_nl_levels},
    // (levels[q] + shift) · d / 64, d and shift in one f16.
    CodecSpec{Codec::q3_64, "q3_64", 3, 64, 2, DType::f16, true, 0, q3_levels, true},
    CodecSpec{Codec::q2_64, "q2_64", 2, 64, 2, DType::f16, true, 0, q2_levels, true},
    // GGML's: (q - zero) (d a) with signed a of 8 bits; q (d a) - (d' b) with a and b of 6 bits.
    CodecSpec{Codec::q6_k, "q6_k", 6, 256, 18, DType::f16, true, 32, {}, false, 16},
    CodecSpec{Codec::q5_k, "q5_k", 5, 256, 16, DType::f16, true, 0, {}, false, 8},
    CodecSpec{Codec::q4_k, "q4_k", 4, 256, 16, DType::f16, true, 0, {}, false, 8},
};

/// The codecs of terms: all but the last, whose blocks are longer than tiles and which are only read.
inline constexpr std::span term_codec_specs = std::span(codec_specs).first<12>();
static_assert(term_codec_specs.back().groups == 0 && codec_specs[term_codec_specs.size()].groups > 0);

constexpr const CodecSpec& spec_of(Codec codec) { return codec_specs[static_cast<std::size_t>(codec)]; }

constexpr std::string_view to_string(Codec codec) { return spec_of(codec).name; }

/// Reads a codec's name; anything else is an Error that lists them.
Codec parse_codec(std::string_view name);

constexpr bool has_scales(Codec codec) { return spec_of(codec).scale_bytes > 0; }

/// What the numbers of a block of q3_64 or q2_64 share, in the 16 bits of an f16 whose sign and last five bits are the
/// shift: any f16 that is finite is one.
struct ShiftedScale {
  f16 d;      ///< >= 0, five bits of its fraction
  int shift;  ///< -32 … 31

  static constexpr int unit = 64;  ///< d is that of a level of 64
  static constexpr std::uint16_t d_bits = 0x7fe0;

  static constexpr ShiftedScale from(f16 bits) {
    return {{static_cast<std::uint16_t>(bits.bits & d_bits)}, (bits.bits & 31) - 32 * (bits.bits >> 15)};
  }
  /// The d nearest to `scale` >= 0 that can be stored, and with it the shift that comes nearest to `minimum`.
  static ShiftedScale nearest(float scale, float minimum);

  constexpr f16 bits() const { return {static_cast<std::uint16_t>(d.bits | (shift & 31) | (shift < 0 ? 0x8000 : 0))}; }
  /// What is added to all numbers.
  float minimum() const { return to_float(d) * static_cast<float>(shift) / unit; }
};

/// Levels [first, first + 8) of a codec that has them, a byte each, the first in the lowest; of four levels twice all.
constexpr std::uint64_t eight_levels(Codec codec, std::size_t first) {
  const std::span<const std::int8_t> levels = spec_of(codec).levels;
  std::uint64_t bytes = 0;
  for (std::size_t q = first + 8; q > first; --q) {
    bytes = bytes << 8 | static_cast<std::uint8_t>(levels[(q - 1) % levels.size()]);
  }
  return bytes;
}

/// Whether each block has a minimum, which is added to all its numbers.
constexpr bool has_minima(Codec codec) { return spec_of(codec).scale_bytes == 4 || spec_of(codec).is_shifted; }

/// Blocks of a row of n numbers; the last one may be shorter.
constexpr index_t blocks_of(Codec codec, index_t n) {
  const index_t block = spec_of(codec).block;
  if (n == 0) return 0;
  return block == 0 ? 1 : (n + block - 1) / block;
}

/// Numbers that codes of a row of n stand for: the last block of a codec with blocks is padded to its full length.
constexpr index_t padded_length(Codec codec, index_t n) {
  const index_t block = spec_of(codec).block;
  return block == 0 ? n : blocks_of(codec, n) * block;
}

/// Bytes of a row's codes.
constexpr index_t code_bytes(Codec codec, index_t n) {
  return (padded_length(codec, n) * spec_of(codec).code_bits + 7) / 8;
}

/// Bytes of a row's scales.
constexpr index_t scale_bytes(Codec codec, index_t n) { return blocks_of(codec, n) * spec_of(codec).scale_bytes; }

/// The type of numbers without scales that a codec competes with: its own, or bf16.
constexpr DType plain_type(Codec codec) {
  return codec == Codec::f32 ? DType::f32 : codec == Codec::f16 ? DType::f16 : DType::bf16;
}

/// The codec of plain numbers.
constexpr Codec codec_of(DType type) {
  return type == DType::f32 ? Codec::f32 : type == DType::bf16 ? Codec::bf16 : Codec::f16;
}

/// Where a block's scales have f16 numbers, and how many; the others, small integers, cannot be NaN or infinity.
struct HalfScales {
  index_t at;     ///< byte
  index_t count;  ///< d, and d' or m
};

/// Of a codec whose blocks have scales in f16.
constexpr HalfScales half_scales(Codec codec) {
  const CodecSpec& spec = spec_of(codec);
  if (spec.groups == 0) return {0, spec.scale_bytes / 2};
  return spec.groups == 16 ? HalfScales{spec.scale_bytes - 2, 1} : HalfScales{0, 2};
}

/// Numbers of a block whose codes lie together, in whole bytes, before those of the next ones.
constexpr index_t code_run(Codec codec) { return spec_of(codec).groups > 0 ? 32 : spec_of(codec).block; }

/// Writes a block of a codec of terms that has blocks: q (block), codes in the order of what they stand for with d > 0,
/// from 0 on; d, and m where the codec has one, are rounded to what it stores.
void pack_block(Codec codec, const std::uint8_t* q, float d, float m, std::byte* codes, std::byte* scales);

/// Writes what encoded rows stand for: out (rows, cols), row-major. Exact for every codec that fits f32. The slow twin
/// of all kernels that multiply with encoded rows.
void widen(Codec codec, const std::byte* codes, const std::byte* scales, index_t rows, index_t cols, float* out);

}  // namespace hack
