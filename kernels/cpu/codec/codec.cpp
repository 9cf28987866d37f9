#include "kernels/codec.hpp"

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

float f16_at(const std::byte* scales, index_t i) {
  f16 x;
  std::memcpy(&x, scales + i * 2, sizeof(x));
  return to_float(x);
}

void put_f16(float x, std::byte* to) {
  const f16 half = to_f16(x);
  std::memcpy(to, &half, sizeof(half));
}

/// Code i of a block of 32: a byte each; or four bits, numbers i and i + 16 in the low and high half of a byte, and of
/// five-bit codes the fifth bits behind them, number i's bit i.
int code_at(index_t bits, const std::byte* block, index_t i) {
  if (bits == 8) return static_cast<std::int8_t>(block[i]);
  const int both = std::to_integer<int>(block[i % 16]);
  const int four = i < 16 ? both & 15 : both >> 4;
  return bits == 4 ? four : four | (std::to_integer<int>(block[16 + i / 8]) >> i % 8 & 1) << 4;
}

/// The codes have been zeros.
void put_code(index_t bits, int q, std::byte* block, index_t i) {
  if (bits == 8) {
    block[i] = static_cast<std::byte>(q);
    return;
  }
  block[i % 16] |= static_cast<std::byte>((q & 15) << (i < 16 ? 0 : 4));
  if (bits == 5) block[16 + i / 8] |= static_cast<std::byte>(q >> 4 << i % 8);
}

void widen_blocks(const CodecSpec& spec, const std::byte* codes, const std::byte* scales, index_t cols, float* out) {
  for (index_t c = 0; c < cols; ++c) {
    const index_t block = c / spec.block;
    const int q = code_at(spec.code_bits, codes + block * spec.block * spec.code_bits / 8, c % spec.block);
    const int level = spec.codec == Codec::iq4_nl ? iq4_nl_values[static_cast<std::size_t>(q)] : q - spec.zero;
    const std::byte* of_block = scales + block * spec.scale_bytes;
    const float minimum = spec.scale_bytes == 4 ? f16_at(of_block, 1) : 0;
    out[c] = f16_at(of_block, 0) * static_cast<float>(level) + minimum;  // the product is exact
  }
}

}  // namespace

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
  put_f16(d, scales);
  if (spec.scale_bytes == 4) put_f16(m, scales + 2);
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
