#include "kernels/codec.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/error.hpp"

namespace hack {
namespace {

void widen_int8(const std::byte* codes, const std::byte* scales, index_t cols, float* out) {
  bf16 scale;
  std::memcpy(&scale, scales, sizeof(scale));
  const auto* q = reinterpret_cast<const std::int8_t*>(codes);
  for (index_t c = 0; c < cols; ++c) out[c] = to_float(scale) * static_cast<float>(q[c]);
}

f16 f16_bits(const std::byte* scales, index_t i) {
  f16 x;
  std::memcpy(&x, scales + i * 2, sizeof(x));
  return x;
}

float f16_at(const std::byte* scales, index_t i) { return to_float(f16_bits(scales, i)); }

void put_f16(f16 half, std::byte* to) { std::memcpy(to, &half, sizeof(half)); }

/// Bits of a code that lie in a block's first 16 bytes, where numbers i, i + 16 and so on share byte i % 16, the first
/// one in its lowest bits. A code's last bit, if they are odd, follows behind them, number i's as bit i.
constexpr index_t shared_bits(index_t bits) { return bits / 2 * 2; }

/// Code i of a block: a byte each, or shared bytes.
int code_at(index_t bits, const std::byte* block, index_t i) {
  if (bits == 8) return static_cast<std::int8_t>(block[i]);
  const index_t shared = shared_bits(bits);
  const int low = std::to_integer<int>(block[i % 16]) >> i / 16 * shared & ((1 << shared) - 1);
  return bits == shared ? low : low | (std::to_integer<int>(block[16 + i / 8]) >> i % 8 & 1) << shared;
}

/// The codes have been zeros.
void put_code(index_t bits, int q, std::byte* block, index_t i) {
  if (bits == 8) {
    block[i] = static_cast<std::byte>(q);
    return;
  }
  const index_t shared = shared_bits(bits);
  block[i % 16] |= static_cast<std::byte>((q & ((1 << shared) - 1)) << i / 16 * shared);
  if (bits > shared) block[16 + i / 8] |= static_cast<std::byte>(q >> shared << i % 8);
}

void widen_blocks(const CodecSpec& spec, const std::byte* codes, const std::byte* scales, index_t cols, float* out) {
  for (index_t c = 0; c < cols; ++c) {
    const index_t block = c / spec.block;
    const int q = code_at(spec.code_bits, codes + block * spec.block * spec.code_bits / 8, c % spec.block);
    const int level = spec.levels.empty() ? q - spec.zero : spec.levels[static_cast<std::size_t>(q)];
    const std::byte* of_block = scales + block * spec.scale_bytes;
    if (spec.is_shifted) {
      const ShiftedScale scale = ShiftedScale::from(f16_bits(of_block, 0));
      out[c] = to_float(scale.d) / ShiftedScale::unit * static_cast<float>(level + scale.shift);
      continue;
    }
    const float minimum = spec.scale_bytes == 4 ? f16_at(of_block, 1) : 0;
    out[c] = f16_at(of_block, 0) * static_cast<float>(level) + minimum;  // the product is exact
  }
}

}  // namespace

ShiftedScale ShiftedScale::nearest(float scale, float minimum) {
  // The last five bits of the f16's fraction are rounded off, ties upwards.
  const int bits = to_f16(std::clamp(scale, 0.0f, 65504.0f)).bits;
  const f16 d{static_cast<std::uint16_t>(std::min(bits + 16, 0x7bff) & d_bits)};
  const float shift = d.bits == 0 ? 0 : std::nearbyint(minimum / to_float(d) * unit);
  return {d, static_cast<int>(std::clamp(shift, -32.0f, 31.0f))};
}

Codec parse_codec(std::string_view name) {
  std::string known;
  for (const CodecSpec& spec : codec_specs) {
    if (name == spec.name) return spec.codec;
    known += known.empty() ? "" : ", ";
    known += spec.name;
  }
  fail("unknown codec '{}' (known: {})", name, known);
}

void pack_block(Codec codec, const std::uint8_t* q, float d, float m, std::byte* codes, std::byte* scales) {
  const CodecSpec& spec = spec_of(codec);
  HACK_EXPECT(spec.block > 0);
  const int least = spec.code_bits == 8 ? -127 : 0;
  std::memset(codes, 0, static_cast<std::size_t>(spec.block * spec.code_bits / 8));
  for (index_t i = 0; i < spec.block; ++i) put_code(spec.code_bits, q[i] + least, codes, i);
  put_f16(spec.is_shifted ? ShiftedScale::nearest(d, m).bits() : to_f16(d), scales);
  if (spec.scale_bytes == 4) put_f16(to_f16(m), scales + 2);
}

void widen(Codec codec, const std::byte* codes, const std::byte* scales, index_t rows, index_t cols, float* out) {
  if (cols == 0) return;
  for (index_t r = 0; r < rows; ++r) {
    const std::byte* row = codes + r * code_bytes(codec, cols);
    const std::byte* of_row = scales + r * scale_bytes(codec, cols);
    float* to = out + r * cols;
    switch (codec) {
      case Codec::f32:
        convert(row, DType::f32, to, DType::f32, cols);
        break;
      case Codec::bf16:
        convert(row, DType::bf16, to, DType::f32, cols);
        break;
      case Codec::f16:
        convert(row, DType::f16, to, DType::f32, cols);
        break;
      case Codec::int8:
        widen_int8(row, of_row, cols, to);
        break;
      default:
        widen_blocks(spec_of(codec), row, of_row, cols, to);
        break;
    }
  }
}

}  // namespace hack
