#include "svd/tile/encode_rows.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "svd/tile/int8_rows.hpp"

namespace hack::svd {
namespace {

void convert_rows(DType type, MatrixView<const float> x, std::byte* codes) {
  for (index_t i = 0; i < x.rows; ++i) {
    convert(x.row(i), DType::f32, codes + i * x.cols * size_of(type), type, x.cols);
  }
}

/// As GGML does: d = max|x| / 127 of a block, q = x / d, where d is rounded for nothing but its place among the scales.
void encode_q8_0(MatrixView<const float> x, std::byte* codes, std::byte* scales) {
  for (index_t r = 0; r < x.rows; ++r) {
    for (index_t first = 0; first < x.cols; first += 32) {
      const std::span block(x.row(r) + first, static_cast<std::size_t>(std::min<index_t>(32, x.cols - first)));
      float largest = 0;
      for (const float number : block) largest = std::max(largest, std::fabs(number));
      const float d = largest / 127, inverse = d >= 0x1p-126f ? 1 / d : 0;
      const f16 scale = to_f16(d);
      std::memcpy(scales, &scale, sizeof(scale));
      for (std::size_t c = 0; c < 32; ++c) {
        codes[c] = static_cast<std::byte>(c < block.size() ? static_cast<int>(std::round(block[c] * inverse)) : 0);
      }
      codes += 32;
      scales += sizeof(scale);
    }
  }
}

/// The largest magnitude that stays finite.
float largest(Codec codec) {
  switch (codec) {
    case Codec::f32:
      return std::numeric_limits<float>::max();
    case Codec::bf16:
      return 0x1.fep127f;
    case Codec::f16:
      return 65504.0f;
    case Codec::int8:
      return 0x1p127f;  // room for a scale that is rounded up
    case Codec::q8_0:
      return 127 * 65504.0f;
  }
  return 0;
}

}  // namespace

void encode_rows(Codec codec, MatrixView<const float> x, std::span<const double> weights, std::byte* codes,
                 std::byte* scales) {
  switch (codec) {
    case Codec::f32:
    case Codec::bf16:
    case Codec::f16:
      convert_rows(plain_type(codec), x, codes);
      break;
    case Codec::int8:
      round_rows(x, weights, {reinterpret_cast<std::int8_t*>(codes), reinterpret_cast<bf16*>(scales)});
      break;
    case Codec::q8_0:
      encode_q8_0(x, codes, scales);
      break;
  }
}

bool fits(MatrixView<const float> x, Codec codec) {
  const float limit = largest(codec);
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) {
      if (!(std::fabs(x(i, j)) <= limit)) return false;
    }
  }
  return true;
}

}  // namespace hack::svd
