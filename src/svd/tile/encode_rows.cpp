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
