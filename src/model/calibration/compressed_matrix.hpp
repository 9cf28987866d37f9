#pragma once

#include <optional>
#include <vector>

#include "model/llama/names.hpp"
#include "svd/pipeline/layer_factors.hpp"
#include "svd/quantize/quantized_rows.hpp"

namespace hack::model {

/// A matrix of a layer, or the head, between its factorization and the archive.
struct CompressedMatrix {
  std::optional<Linear> linear;  ///< none is the head
  svd::TiledMatrix matrix;
  std::vector<double> column_weights;  // (n)
  Buffer<float> rebuilt;               // (m, n)
  Codec codec = Codec::f32;            ///< what it is stored in
  /// Where the matrix is quantized, of this rank's rows of tiles.
  std::optional<svd::QuantizedRows> codes;

  /// Lets go of what the archive does not need: the matrix as it should be, and what codes stand for.
  void forget_values() {
    matrix.values = {};
    if (codes) rebuilt = {};
  }

  MatrixView<const float> values() const { return {rebuilt.data(), matrix.grid.rows(), matrix.grid.cols()}; }
};

}  // namespace hack::model
