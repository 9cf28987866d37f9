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

void widen_q8_0(const std::byte* codes, const std::byte* scales, index_t cols, float* out) {
  for (index_t c = 0; c < cols; ++c) {
    f16 scale;
    std::memcpy(&scale, scales + c / 32 * 2, sizeof(scale));
    out[c] = to_float(scale) * static_cast<float>(static_cast<std::int8_t>(codes[c]));
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
      case Codec::q8_0:
        widen_q8_0(row, of_row, cols, to);
        break;
    }
  }
}

}  // namespace hack
