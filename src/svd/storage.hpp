#pragma once

#include "kernels/dtype.hpp"
#include "kernels/factored_linear.hpp"

namespace hack::svd {

/// What each tile has in the table of its matrix: its rank (int32) and its kind (uint8).
constexpr index_t table_entry_bytes = 5;

/// Bytes of a matrix or tile (h, w) as plain numbers.
constexpr index_t dense_bytes(index_t h, index_t w, DType type) { return h * w * size_of(type); }

/// Bytes an archive spends on a tile (h, w) of rank k, its entry in the table included:
///
///     factors   (h + w) k numbers, k singular values in f32
///     dense     h w numbers
///
/// Every byte count in policies and reports comes from here.
constexpr index_t stored_bytes(kernels::TileKind kind, index_t h, index_t w, index_t k, DType type) {
  const bool is_dense = kind == kernels::TileKind::dense;
  return table_entry_bytes + (is_dense ? dense_bytes(h, w, type) : (h + w) * k * size_of(type) + 4 * k);
}

/// Numbers of such a tile in the archive's arrays u and v.
constexpr index_t u_size(kernels::TileKind kind, index_t h, index_t w, index_t k) {
  return kind == kernels::TileKind::dense ? h * w : h * k;
}
constexpr index_t v_size(kernels::TileKind kind, index_t w, index_t k) {
  return kind == kernels::TileKind::dense ? 0 : k * w;
}

}  // namespace hack::svd
