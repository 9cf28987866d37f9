#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "kernels/matrix_view.hpp"

namespace hack::tests {

constexpr DType all_types[] = {DType::f32, DType::bf16, DType::f16};

inline std::vector<Codec> all_codecs() {
  std::vector<Codec> codecs;
  for (const CodecSpec& spec : codec_specs) codecs.push_back(spec.codec);
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

/// Rows in a codec, and what they stand for by its slow twin.
struct EncodedRows {
  std::vector<std::byte> codes, scales;
  std::vector<float> values;  // (rows, cols)

  /// Encodes values (rows, cols): a codec with scales by the largest number of each row.
  EncodedRows(Codec codec, std::vector<float> numbers, index_t rows, index_t cols)
      : codes(static_cast<std::size_t>(rows * code_bytes(codec, cols))),
        scales(static_cast<std::size_t>(rows * scale_bytes(codec, cols))),
        values(std::move(numbers)) {
    for (index_t r = 0; r < rows && cols > 0; ++r) encode_row(codec, values.data() + r * cols, r, cols);
    widen(codec, codes.data(), scales.data(), rows, cols, values.data());
  }

 private:
  void encode_row(Codec codec, const float* row, index_t r, index_t cols) {
    std::byte* to = codes.data() + r * code_bytes(codec, cols);
    if (codec != Codec::int8) {
      convert(row, DType::f32, to,
              codec == Codec::f32    ? DType::f32
              : codec == Codec::bf16 ? DType::bf16
                                     : DType::f16,
              cols);
      return;
    }
    float largest = 0;
    for (index_t c = 0; c < cols; ++c) largest = std::max(largest, std::fabs(row[c]));
    const bf16 scale = to_bf16(largest / 126);
    std::memcpy(scales.data() + r * scale_bytes(codec, cols), &scale, sizeof(scale));
    for (index_t c = 0; c < cols; ++c) {
      const auto q = static_cast<std::int8_t>(largest > 0 ? std::nearbyint(row[c] / to_float(scale)) : 0);
      std::memcpy(to + c, &q, 1);
    }
  }
};

/// A weight matrix of any codec and what its numbers are in f32.
struct RandomWeights {
  EncodedRows encoded;
  std::vector<std::byte>& bytes = encoded.codes;
  std::vector<float>& values = encoded.values;  // (rows, cols)
  WeightView<> view;

  RandomWeights(index_t rows, index_t cols, Codec codec, unsigned seed)
      : encoded(codec, random_floats(rows * cols, seed), rows, cols),
        view{bytes.data(), codec, rows, cols, padded_length(codec, cols), encoded.scales.data()} {}
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
