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

/// Bits of a code that lie in a run's first 16 bytes, where numbers i, i + 16 and so on share byte i % 16, the first
/// one in its lowest bits. Behind them follow the others: the last bit of an odd number, number i's as bit i; the last
/// two of six, number i's in byte i % 8, likewise shared.
constexpr index_t shared_bits(index_t bits) { return bits == 6 ? 4 : bits / 2 * 2; }

/// Code i of a run: a byte each, or shared bytes.
int code_at(index_t bits, const std::byte* run, index_t i) {
  if (bits == 8) return static_cast<std::int8_t>(run[i]);
  const index_t shared = shared_bits(bits);
  const int low = std::to_integer<int>(run[i % 16]) >> i / 16 * shared & ((1 << shared) - 1);
  if (bits == shared) return low;
  const int high = bits == 6 ? std::to_integer<int>(run[16 + i % 8]) >> i / 8 * 2 & 3
                             : std::to_integer<int>(run[16 + i / 8]) >> i % 8 & 1;
  return low | high << shared;
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

/// What the numbers of a group share: they are scale q + minimum.
struct GroupScale {
  float scale, minimum;
};

/// Of q6_k: 16 signed bytes, then d. Of q5_k and q4_k: d and d', then 8 + 8 numbers a and b of 6 bits: groups 0 to 3
/// have theirs in the low bits of bytes 0 to 3 and 4 to 7, whose two top bits are those of groups 4 to 7; the low four
/// bits of these are in bytes 8 to 11, a below b.
GroupScale scale_of_group(const CodecSpec& spec, const std::byte* scales, index_t group) {
  if (spec.groups == 16) {
    const float scale = f16_at(scales, 8) * static_cast<float>(static_cast<std::int8_t>(scales[group]));
    return {scale, scale * static_cast<float>(-spec.zero)};
  }
  const auto byte = [&](index_t i) { return std::to_integer<int>(scales[4 + i]); };
  const index_t g = group % 4;
  const int a = group < 4 ? byte(g) & 63 : (byte(8 + g) & 15) | byte(g) >> 6 << 4;
  const int b = group < 4 ? byte(4 + g) & 63 : byte(8 + g) >> 4 | byte(4 + g) >> 6 << 4;
  return {f16_at(scales, 0) * static_cast<float>(a), -(f16_at(scales, 1) * static_cast<float>(b))};
}

void widen_blocks(const CodecSpec& spec, const std::byte* codes, const std::byte* scales, index_t cols, float* out) {
  const index_t run = code_run(spec.codec);
  for (index_t c = 0; c < cols; ++c) {
    const index_t block = c / spec.block;
    const int q = code_at(spec.code_bits, codes + c / run * run * spec.code_bits / 8, c % run);
    const int level = spec.levels.empty() ? q - spec.zero : spec.levels[static_cast<std::size_t>(q)];
    const std::byte* of_block = scales + block * spec.scale_bytes;
    if (spec.groups > 0) {
      const GroupScale group = scale_of_group(spec, of_block, c % spec.block * spec.groups / spec.block);
      out[c] = group.scale * static_cast<float>(q) + group.minimum;  // the product is exact
      continue;
    }
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
  HACK_EXPECT(spec.block > 0 && spec.groups == 0);
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
