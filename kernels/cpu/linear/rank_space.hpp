#pragma once

#include <algorithm>

#include "kernels/factored_linear.hpp"

namespace hack::kernels {

/// A product with numbers of type T, x or z: y = or += x wᵀ.
template <class T>
using FactorProduct = void (*)(MatrixView<const T> x, WeightView<> w, MatrixView<float> y, Write write);

inline index_t tile_height(const FactoredView<Device::cpu>& w, index_t i) {
  return w.row_offsets[i + 1] - w.row_offsets[i];
}
inline index_t tile_width(const FactoredView<Device::cpu>& w, index_t j) {
  return w.col_offsets[j + 1] - w.col_offsets[j];
}

/// Rows (rows, cols) of the factors that start at number `start` of u or v; their scales at `scales`.
inline WeightView<> factor_rows(const std::byte* numbers, Codec codec, index_t start, index_t rows, index_t cols,
                                const std::byte* scales = nullptr) {
  return {numbers + start * spec_of(codec).code_bits / 8, codec, rows, cols, padded_length(codec, cols), scales};
}

/// Rows [first, first + rows) of V_j.
inline WeightView<> right_rows(const FactoredView<Device::cpu>& w, index_t j, index_t first, index_t rows) {
  const index_t width = tile_width(w, j);
  const std::byte* scales =
      has_scales(w.codec) ? w.v_scales + w.v_scale_offsets[j] + first * scale_bytes(w.codec, width) : nullptr;
  return factor_rows(w.v, w.codec, w.v_offsets[j] + first * padded_length(w.codec, width), rows, width, scales);
}

/// Left rows [first, first + rows) of a tile that is not stacked, counted among the rows that it stores.
inline WeightView<> left_rows(const FactoredView<Device::cpu>& w, const TileLayout& tile, index_t first, index_t rows) {
  const std::byte* scales =
      has_scales(w.codec) ? w.u_scales + tile.left_scales + first * scale_bytes(w.codec, tile.size) : nullptr;
  return factor_rows(w.u, w.codec, tile.left + first * padded_length(w.codec, tile.size), rows, tile.size, scales);
}

/// Rows [first, first + rows) of U_i.
inline WeightView<> stacked_rows(const FactoredView<Device::cpu>& w, index_t i, index_t first, index_t rows) {
  const index_t stack = w.stack_sizes[i];
  const std::byte* scales =
      has_scales(w.codec) ? w.u_scales + w.u_scale_offsets[i] + first * scale_bytes(w.codec, stack) : nullptr;
  return factor_rows(w.u, w.codec, w.u_offsets[i] + first * padded_length(w.codec, stack), rows, stack, scales);
}

/// z of some tokens and of tile rows [first, last) in numbers of type T, f32 or bf16: one z_i (tokens, length of z_i)
/// after the other, in working memory of the thread that makes it, until it makes another.
template <class T>
class RankSpace {
 public:
  RankSpace(const FactoredView<Device::cpu>& w, index_t tokens, index_t first, index_t last);

  MatrixView<T> tile_row(index_t i) const {
    return {data_ + tokens_ * (w_.block_offsets[i] - origin_), tokens_, w_.block_offsets[i + 1] - w_.block_offsets[i]};
  }
  /// z_ij of tokens [token, token + tokens).
  MatrixView<T> tile(index_t i, const TileLayout& tile, index_t token, index_t tokens) const {
    return tile_row(i).block(token, tile.block - w_.block_offsets[i], tokens, tile.size);
  }

 private:
  const FactoredView<Device::cpu>& w_;
  index_t tokens_;
  index_t origin_;
  T* data_;
};

/// Some rows of V_j: all tiles of a tile column are one product, however small their ranks.
struct Projection {
  index_t j;
  index_t first, rows;
};

/// Writes z of one projection, for the tokens of x, the first of which is `token`; on the calling thread.
template <class T>
void project(FactorProduct<T> product, MatrixView<const T> x, const FactoredView<Device::cpu>& w,
             const Projection& part, index_t token, const RankSpace<T>& z);

/// z of a dense tile: its part of x.
template <class T>
void copy_dense_block(MatrixView<const T> x, const FactoredView<Device::cpu>& w, index_t j, MatrixView<T> z) {
  for (index_t t = 0; t < x.rows; ++t) std::copy_n(x.row(t) + w.col_offsets[j], z.cols, z.row(t));
}

}  // namespace hack::kernels
