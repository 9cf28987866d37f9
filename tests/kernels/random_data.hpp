#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/matrix_view.hpp"

namespace hack::tests {

constexpr DType all_types[] = {DType::f32, DType::bf16, DType::f16};

inline std::vector<Codec> all_codecs() {
  std::vector<Codec> codecs;
  for (const CodecSpec& spec : codec_specs) codecs.push_back(spec.codec);
  return codecs;
}
/// Those that terms can be in.
inline std::vector<Codec> term_codecs() {
  std::vector<Codec> codecs;
  for (const CodecSpec& spec : term_codec_specs) codecs.push_back(spec.codec);
  return codecs;
}
constexpr double eps = std::numeric_limits<float>::epsilon();

/// n numbers in [-1, 1), always the same ones for a seed.
inline std::vector<float> random_floats(index_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> out(static_cast<std::size_t>(n));
  for (float& x : out) x = uniform(generator);
  return out;
}

/// Random rows in a codec, and what they stand for by its slow twin. A codec with scales has any codes, those that pad
/// a block included, and scales that leave numbers in [-1, 1].
struct EncodedRows {
  std::vector<std::byte> codes, scales;
  std::vector<float> values;  // (rows, cols)

  EncodedRows(Codec codec, index_t rows, index_t cols, unsigned seed)
      : codes(static_cast<std::size_t>(rows * code_bytes(codec, cols))),
        scales(static_cast<std::size_t>(rows * scale_bytes(codec, cols))),
        values(static_cast<std::size_t>(rows * cols)) {
    if (!has_scales(codec)) {
      const std::vector<float> numbers = random_floats(rows * cols, seed);
      convert(numbers.data(), DType::f32, codes.data(), plain_type(codec), rows * cols);
      widen(codec, codes.data(), scales.data(), rows, cols, values.data());
      return;
    }
    std::mt19937 generator(seed);
    for (std::byte& code : codes) code = static_cast<std::byte>(generator());
    const CodecSpec& spec = spec_of(codec);
    if (spec.groups > 0) {
      fill_grouped(spec, rows, cols, seed);
      return;
    }
    std::vector<float> wide = random_floats(std::ssize(scales) / size_of(spec.scale_type), seed + 1);
    for (float& scale : wide) scale = spec.has_signed_scales ? scale : std::fabs(scale);
    const auto store = [&] {
      convert(wide.data(), DType::f32, scales.data(), spec.scale_type, std::ssize(wide));
      widen(codec, codes.data(), scales.data(), rows, cols, values.data());
    };
    store();
    float largest = 1e-2f;  // all may be zero
    for (const float x : values) largest = std::max(largest, std::fabs(x));
    for (float& scale : wide) scale *= 0.99f / largest;  // numbers are sums of multiples of scales
    store();
  }

 private:
  /// Any small scales; d, and d' where there is one, such that all numbers are in [-1, 1].
  void fill_grouped(const CodecSpec& spec, index_t rows, index_t cols, unsigned seed) {
    std::mt19937 generator(seed + 1);
    for (std::byte& scale : scales) scale = static_cast<std::byte>(generator());
    const HalfScales halves = half_scales(spec.codec);
    const index_t blocks = std::ssize(scales) / spec.scale_bytes;
    const std::vector<float> numbers = random_floats(2 * blocks, seed + 2);
    for (index_t b = 0; b < blocks; ++b) {
      // The largest magnitudes of a code times a small scale, and of a small minimum.
      const f16 d[] = {to_f16(numbers[2 * b] / (spec.groups == 16 ? 128 * 32 : 64 * 64)),
                       to_f16(numbers[2 * b + 1] / 128)};
      std::memcpy(scales.data() + b * spec.scale_bytes + halves.at, d, static_cast<std::size_t>(2 * halves.count));
    }
    widen(spec.codec, codes.data(), scales.data(), rows, cols, values.data());
  }
};

/// A weight matrix of any codec and what its numbers are in f32.
struct RandomWeights {
  EncodedRows encoded;
  std::vector<std::byte>& bytes = encoded.codes;
  std::vector<float>& values = encoded.values;  // (rows, cols)
  WeightView<> view;

  RandomWeights(index_t rows, index_t cols, Codec codec, unsigned seed)
      : encoded(codec, rows, cols, seed), view{bytes.data(),         codec, rows, cols, padded_length(codec, cols),
                                               encoded.scales.data()} {}
  RandomWeights(index_t rows, index_t cols, DType type, unsigned seed)
      : RandomWeights(rows, cols, codec_of(type), seed) {}
  RandomWeights(const RandomWeights& other) : encoded(other.encoded), view(other.view) {
    view.data = bytes.data();
    view.scales = encoded.scales.data();
  }

  /// The same numbers in f32: CPUs with products of bf16 pairs round what they multiply with narrow ones.
  WeightView<> wide() const { return {values.data(), Codec::f32, view.rows, view.cols, view.cols}; }
};

inline MatrixView<float> view_of(std::vector<float>& data, index_t rows, index_t cols) {
  return {data.data(), rows, cols};
}
inline MatrixView<const float> view_of(const std::vector<float>& data, index_t rows, index_t cols) {
  return {data.data(), rows, cols};
}

}  // namespace hack::tests
