#include "svd/train/value_parameters.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

f16 half_at(const std::byte* scales, index_t i) {
  f16 x;
  std::memcpy(&x, scales + i * 2, sizeof(x));
  return x;
}

/// The scales of blocks whose numbers are their levels.
std::vector<std::byte> unit_scales(const CodecSpec& spec, index_t blocks) {
  std::vector<std::byte> scales(static_cast<std::size_t>(blocks * spec.scale_bytes));
  const f16 one = to_f16(spec.is_shifted ? static_cast<float>(ShiftedScale::unit) : 1.0f);
  for (index_t b = 0; b < blocks; ++b) std::memcpy(scales.data() + b * spec.scale_bytes, &one, sizeof(one));
  return scales;
}

}  // namespace

ValueParameters::ValueParameters(StoredTerm term) : term_(std::move(term)) {
  HACK_EXPECT(term_.structure == Structure::dense);
  if (count() == 0) return;
  const CodecSpec& spec = spec_of(term_.codec);
  span_ = spec.levels.empty() ? static_cast<float>((1 << spec.code_bits) - 1)
                              : static_cast<float>(spec.levels.back() - spec.levels.front());
}

void ValueParameters::start(float* parameters) const { std::fill_n(parameters, count(), 0.0f); }

auto ValueParameters::stored(index_t row, index_t block) const -> Shared {
  const CodecSpec& spec = spec_of(term_.codec);
  const std::byte* at = term_.left().scales + (row * blocks() + block) * spec.scale_bytes;
  if (!spec.is_shifted) return {to_float(half_at(at, 0)), spec.scale_bytes == 4 ? to_float(half_at(at, 1)) : 0.0f};
  const ShiftedScale shifted = ShiftedScale::from(half_at(at, 0));
  return {to_float(shifted.d) / ShiftedScale::unit, shifted.minimum()};
}

void ValueParameters::put(const float* parameters, index_t row, index_t block, std::byte* to) const {
  const CodecSpec& spec = spec_of(term_.codec);
  const index_t at = row * blocks() + block;
  const Shared first = stored(row, block);
  float scale = first.scale * (1 + parameters[at]);
  if (!spec.has_signed_scales) scale = std::max(scale, 0.0f);
  float minimum = first.minimum;
  if (has_minima(term_.codec)) {
    minimum += std::fabs(first.scale) * span_ * parameters[term_.height * blocks() + at];
  }
  const f16 d = spec.is_shifted ? ShiftedScale::nearest(scale * ShiftedScale::unit, minimum).bits() : to_f16(scale);
  std::memcpy(to, &d, sizeof(d));
  if (spec.scale_bytes != 4) return;
  const f16 m = to_f16(minimum);
  std::memcpy(to + sizeof(d), &m, sizeof(m));
}

std::vector<std::byte> ValueParameters::scales(const float* parameters) const {
  const index_t bytes = spec_of(term_.codec).scale_bytes;
  std::vector<std::byte> out(static_cast<std::size_t>(term_.height * blocks() * bytes));
  for (index_t i = 0; i < term_.height; ++i) {
    for (index_t b = 0; b < blocks(); ++b) put(parameters, i, b, out.data() + (i * blocks() + b) * bytes);
  }
  return out;
}

void ValueParameters::round(const float* parameters, MatrixView<float> out) const {
  HACK_EXPECT(out.rows == term_.height && out.cols == term_.width);
  const EncodedArray array = term_.left();
  const std::vector<std::byte> now = count() > 0 ? scales(parameters) : std::vector<std::byte>();
  for (index_t i = 0; i < out.rows; ++i) {
    const index_t row_scales = i * scale_bytes(array.codec, array.cols);
    widen(array.codec, array.codes + i * code_bytes(array.codec, array.cols),
          count() > 0 ? now.data() + row_scales : array.scales + row_scales, 1, array.cols, out.row(i));
  }
}

void ValueParameters::add_gradients(MatrixView<const float> values, float* gradients) const {
  if (count() == 0) return;
  const index_t block = spec_of(term_.codec).block;
  const EncodedArray array = term_.left();
  const std::vector<std::byte> unit = unit_scales(spec_of(term_.codec), blocks());
  // Of one row: kept for all rows they would take 4 bytes a number.
  std::vector<float> levels(static_cast<std::size_t>(term_.width));
  for (index_t i = 0; i < term_.height; ++i) {
    widen(term_.codec, array.codes + i * code_bytes(array.codec, array.cols), unit.data(), 1, array.cols,
          levels.data());
    for (index_t b = 0; b < blocks(); ++b) {
      double of_scale = 0, of_minimum = 0;
      for (index_t j = b * block; j < std::min((b + 1) * block, term_.width); ++j) {
        of_scale += static_cast<double>(levels[static_cast<std::size_t>(j)]) * values(i, j);
        of_minimum += values(i, j);
      }
      const float first = stored(i, b).scale;
      gradients[i * blocks() + b] += static_cast<float>(first * of_scale);
      if (!has_minima(term_.codec)) continue;
      gradients[(term_.height + i) * blocks() + b] += static_cast<float>(std::fabs(first) * span_ * of_minimum);
    }
  }
}

StoredTerm ValueParameters::encoded(const float* parameters) const {
  StoredTerm out = term_;
  if (count() == 0) return out;
  const std::vector<std::byte> now = scales(parameters);
  std::copy(now.begin(), now.end(), out.bytes.end() - static_cast<std::ptrdiff_t>(now.size()));
  return out;
}

}  // namespace hack::svd
