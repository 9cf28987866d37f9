#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "kernels/row_marks.hpp"
#include "svd/tile/encode_rows.hpp"
#include "svd/tile/encoded_term.hpp"
#include "svd/tile/stored_tile.hpp"

namespace hack::testing {

/// A structure in a codec (h, w), of rank k where it is not dense.
struct TermShape {
  svd::Structure structure;
  Codec codec;
  index_t h;
  index_t w;
  index_t k;
};

/// A term of random numbers in [-size, size), whose skeleton is every other row as long as there are enough.
inline svd::StoredTerm random_term(const TermShape& shape, unsigned seed, float size = 1) {
  const auto [structure, codec, h, w, k] = shape;
  const bool is_dense = structure == svd::Structure::dense;
  svd::StoredTerm term{structure, codec, static_cast<std::int32_t>(is_dense ? 0 : k), h, w, {}};
  const svd::TermArrays arrays(structure, codec, h, w, term.rank);
  svd::EncodedTerm encoded(arrays);
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (std::size_t a = 0; a < arrays.size(); ++a) {
    const svd::TermArray& array = arrays[a];
    if (!array.codec) {
      auto* marks = reinterpret_cast<std::uint8_t*>(encoded.codes(a));
      for (index_t p = 0; p < k && array.rows > 0; ++p) kernels::mark(marks, p * h / k);
    } else if (array.rows * array.cols > 0) {
      std::vector<float> numbers(static_cast<std::size_t>(array.rows * array.cols));
      for (float& x : numbers) {
        x = array.name == "sigma" ? std::fabs(uniform(generator)) : size * uniform(generator);
      }
      const std::vector<double> weights(static_cast<std::size_t>(array.cols), 1.0);
      svd::encode_rows(*array.codec, {numbers.data(), array.rows, array.cols}, weights, encoded.codes(a),
                       encoded.scales(a));
    }
  }
  encoded.append_to(term.bytes);
  return term;
}

}  // namespace hack::testing
