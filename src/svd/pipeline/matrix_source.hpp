#pragma once

#include <functional>
#include <string>

#include "kernels/matrix_view.hpp"

namespace hack::svd {

/// A matrix to compress. `read` fills `out` with the block that starts at (row, col); called on one thread, for the
/// tiles of this rank only.
struct MatrixSource {
  std::string name;
  index_t rows = 0;
  index_t cols = 0;
  std::function<void(index_t row, index_t col, MatrixView<float> out)> read;
};

}  // namespace hack::svd
