#include "kernels/cpu/linear/panel_walk.hpp"

#include <cstdint>
#include <cstring>

namespace hack::kernels {
namespace {

/// Asks for every `step`th row of [first, end), from first + part on: a part while each of a tile's products runs.
template <class T>
void prefetch_rows(MatrixView<const T> x, index_t first, index_t end, index_t part, index_t step) {
  constexpr index_t line = 64 / sizeof(T);
  for (index_t i = first + part; i < std::min(x.rows, end); i += step) {
    for (index_t p = 0; p < x.cols; p += line) __builtin_prefetch(x.row(i) + p);
  }
}

/// Rows of x as rows of `lanes` lanes of a tile's left operand.
template <class T>
void copy_rows(MatrixView<const T> x, index_t lanes, float* left) {
  const std::size_t bytes = static_cast<std::size_t>(x.cols) * sizeof(T);
  for (index_t r = 0; r < x.rows; ++r) {
    auto* to = reinterpret_cast<std::byte*>(left + r * row_stride);
    std::memcpy(to, x.row(r), bytes);
    std::memset(to + bytes, 0, static_cast<std::size_t>(lanes) * sizeof(float) - bytes);
  }
}

}  // namespace

template <class T>
void multiply_panel(const MicroKernel& tile, MatrixView<const T> x, const float* packed, MatrixView<float> y,
                    bool add) {
  alignas(64) float left[max_tile_rows * row_stride];
  alignas(64) float edge[max_tile_rows * max_tile_cols];
  const index_t lanes = tile.lanes(x.cols);
  for (index_t i = 0; i < x.rows; i += tile.rows) {
    const index_t rows = std::min(tile.rows, x.rows - i);
    copy_rows(x.rows_from(i, rows), lanes, left);
    for (index_t j = 0; j < y.cols; j += tile.cols) {
      const index_t cols = std::min(tile.cols, y.cols - j);
      const float* right = packed + j * lanes;
      prefetch_rows(x, i + tile.rows, i + 2 * tile.rows, j / tile.cols, gemm_panel / tile.cols);
      if (cols == tile.cols) {
        tile.multiply[rows - 1](left, right, lanes, &y(i, j), y.ld, add);
        continue;
      }
      for (index_t r = 0; add && r < rows; ++r) std::copy_n(&y(i + r, j), cols, edge + r * tile.cols);
      tile.multiply[rows - 1](left, right, lanes, edge, tile.cols, add);
      for (index_t r = 0; r < rows; ++r) std::copy_n(edge + r * tile.cols, cols, &y(i + r, j));
    }
  }
}

void write_sums(MatrixView<const float> sums, MatrixView<float> y, Write write) {
  for (index_t i = 0; i < y.rows; ++i) {
    float* to = y.row(i);
    const float* from = sums.row(i);
    if (write == Write::replace) {
      std::copy_n(from, y.cols, to);
    } else {
      for (index_t j = 0; j < y.cols; ++j) to[j] += from[j];
    }
  }
}

template void multiply_panel(const MicroKernel&, MatrixView<const float>, const float*, MatrixView<float>, bool);
template void multiply_panel(const MicroKernel&, MatrixView<const bf16>, const float*, MatrixView<float>, bool);
template void multiply_panel(const MicroKernel&, MatrixView<const std::int16_t>, const float*, MatrixView<float>, bool);

}  // namespace hack::kernels
