#pragma once

#include "kernels/matrix_view.hpp"

namespace hack::model {

/// Room for (rows, cols) in a buffer, which grows to the largest asked for and stays.
template <Device D>
MatrixView<float, D> room(Buffer<float, D>& buffer, index_t rows, index_t cols) {
  if (buffer.size() < rows * cols) {
    buffer = {};  // the old goes before the larger one comes
    buffer = Buffer<float, D>(rows * cols);
  }
  return {buffer.data(), rows, cols};
}

}  // namespace hack::model
