#include "svd/tile/encode_rows.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "svd/tile/block_grid.hpp"
#include "svd/tile/int8_rows.hpp"

namespace hack::svd {
namespace {

void convert_rows(DType type, MatrixView<const float> x, std::byte* codes) {
  for (index_t i = 0; i < x.rows; ++i) {
    convert(x.row(i), DType::f32, codes + i * x.cols * size_of(type), type, x.cols);
  }
}

/// A block's codes as pack_block() takes them, and what they share.
struct RoundedBlock {
  std::array<std::uint8_t, 64> q{};
  float d = 0;
  float m = 0;
};

/// Codes trunc((x - m) / d + offset) from 0 to `last`. Of d that has no inverse all are trunc(offset).
void round_to(std::span<const float> x, float offset, int last, RoundedBlock& block) {
  const float inverse = std::fabs(block.d) >= 0x1p-126f ? 1 / block.d : 0;
  for (std::size_t c = 0; c < block.q.size(); ++c) {
    const float number = c < x.size() ? x[c] : 0;
    const float q = std::trunc((number - block.m) * inverse + offset);
    block.q[c] = static_cast<std::uint8_t>(std::clamp(q, 0.0f, static_cast<float>(last)));
  }
}

/// The codes that come nearest.
void take_nearest(const BlockGrid& grid, std::span<const float> x, RoundedBlock& block) {
  for (std::size_t c = 0; c < block.q.size(); ++c) {
    block.q[c] = static_cast<std::uint8_t>(grid.code_of(c < x.size() ? x[c] : 0, {block.d, block.m}));
  }
}

/// A block of levels that can be shifted: where they leave least.
RoundedBlock round_shifted(const BlockGrid& grid, std::span<const float> x) {
  const std::vector<double> values(x.begin(), x.end()), ones(x.size(), 1.0);
  const BlockScale scale = grid.find(values, ones);
  RoundedBlock block{.d = scale.scale, .m = scale.minimum};
  take_nearest(grid, x, block);
  return block;
}

/// The number of the largest magnitude, of several the first.
float extreme(std::span<const float> x) {
  return *std::max_element(x.begin(), x.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}

/// As GGML's reference does: the number farthest from zero gets the code -zero; with minima the least and the greatest
/// get the first and the last code. d and m are rounded for nothing but their place among the scales.
RoundedBlock round_block(const CodecSpec& spec, const BlockGrid& grid, std::span<const float> x) {
  if (spec.is_shifted) return round_shifted(grid, x);
  RoundedBlock block;
  if (spec.code_bits == 8) {
    block.d = std::fabs(extreme(x)) / 127;
    const float inverse = block.d >= 0x1p-126f ? 1 / block.d : 0;
    for (std::size_t c = 0; c < block.q.size(); ++c) {
      block.q[c] = static_cast<std::uint8_t>(127 + (c < x.size() ? static_cast<int>(std::round(x[c] * inverse)) : 0));
    }
    return block;
  }
  const int last = (1 << spec.code_bits) - 1;
  if (spec.scale_bytes == 4) {
    const auto [least, greatest] = std::minmax_element(x.begin(), x.end());
    block.m = *least;
    block.d = (*greatest - *least) / static_cast<float>(last);
    round_to(x, 0.5f, last, block);
  } else if (!spec.levels.empty()) {
    block.d = extreme(x) / static_cast<float>(spec.levels.front());
    take_nearest(grid, x, block);
  } else {
    block.d = extreme(x) / static_cast<float>(-spec.zero);
    round_to(x, static_cast<float>(spec.zero) + 0.5f, last, block);
  }
  return block;
}

void encode_blocks(const CodecSpec& spec, MatrixView<const float> x, std::byte* codes, std::byte* scales) {
  const BlockGrid grid(spec.codec);
  for (index_t r = 0; r < x.rows; ++r) {
    for (index_t first = 0; first < x.cols; first += spec.block) {
      const index_t count = std::min(spec.block, x.cols - first);
      const RoundedBlock block = round_block(spec, grid, {x.row(r) + first, static_cast<std::size_t>(count)});
      pack_block(spec.codec, block.q.data(), block.d, block.m, codes, scales);
      codes += spec.block * spec.code_bits / 8;
      scales += spec.scale_bytes;
    }
  }
}

/// The largest magnitude that stays finite.
float largest_magnitude(Codec codec) {
  switch (codec) {
    case Codec::f32:
      return std::numeric_limits<float>::max();
    case Codec::bf16:
      return 0x1.fep127f;
    case Codec::f16:
      return 65504.0f;
    case Codec::int8:
      return 0x1p127f;  // room for a scale that is rounded up
    default:
      return 65504.0f;  // d and m are below it then
  }
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
    default:
      encode_blocks(spec_of(codec), x, codes, scales);
      break;
  }
}

bool fits(MatrixView<const float> x, Codec codec) {
  const float limit = largest_magnitude(codec);
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) {
      if (!(std::fabs(x(i, j)) <= limit)) return false;
    }
  }
  return true;
}

}  // namespace hack::svd
