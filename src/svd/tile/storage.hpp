#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/factored_linear.hpp"
#include "svd/tile/factor_type.hpp"

namespace hack::svd {

/// What each tile has in the table of its matrix: its rank (int32) and its kind (uint8).
constexpr index_t table_entry_bytes = 5;

/// Bytes of a matrix or tile (h, w) as plain numbers, without scales.
constexpr index_t dense_bytes(index_t h, index_t w, FactorType type) { return h * w * size_of(type); }

/// How tiles of low rank are stored.
enum class Storage : std::uint8_t {
  interpolative,  ///< k(h + w - k) numbers: never more than the dense tile
  low_rank        ///< U and V, k(h + w) numbers: for comparison
};

constexpr std::string_view to_string(Storage storage) {
  return storage == Storage::interpolative ? "interpolative" : "factors";
}

/// The kind of tile that a storage makes of a tile of low rank.
constexpr kernels::Structure kind_of(Storage storage) {
  return storage == Storage::interpolative ? kernels::Structure::interpolative : kernels::Structure::low_rank;
}

/// Numbers of a tile in the archive's arrays u and v.
constexpr index_t u_size(kernels::Structure kind, index_t h, index_t w, index_t k) {
  if (kind == kernels::Structure::dense) return h * w;
  return kind == kernels::Structure::interpolative ? (h - k) * k : h * k;
}
constexpr index_t v_size(kernels::Structure kind, index_t w, index_t k) {
  return kind == kernels::Structure::dense ? 0 : k * w;
}

/// Rows of a tile in the archive's arrays u and v that have numbers: int8 stores a scale of each.
constexpr index_t u_rows(kernels::Structure kind, index_t h, index_t k) {
  if (kind == kernels::Structure::dense) return h;
  if (k == 0) return 0;
  return kind == kernels::Structure::interpolative ? h - k : h;
}
constexpr index_t v_rows(kernels::Structure kind, index_t k) { return kind == kernels::Structure::dense ? 0 : k; }

/// Bytes that say which rows of a tile are its skeleton rows, one bit a row; none where no row or every row is one.
constexpr index_t interpolation_bytes(kernels::Structure kind, index_t h, index_t k) {
  return kind == kernels::Structure::interpolative && k > 0 && k < h ? (h + 7) / 8 : 0;
}

/// Bytes an archive spends on a tile (h, w) of rank k, its entry in the table included:
///
///     factors   (h + w) k numbers, k singular values in f32
///     dense     h w numbers
///     interpolative   (h + w - k) k numbers, h bits that mark the skeleton rows
///     any       of int8, a scale in bf16 for each row of numbers
///
/// Every byte count in policies and reports comes from here.
constexpr index_t stored_bytes(kernels::Structure kind, index_t h, index_t w, index_t k, FactorType type) {
  const index_t singular_values = kind == kernels::Structure::low_rank ? 4 * k : 0;
  const index_t scales = type.has_scales() ? (u_rows(kind, h, k) + v_rows(kind, k)) * scale_bytes : 0;
  return table_entry_bytes + (u_size(kind, h, w, k) + v_size(kind, w, k)) * size_of(type) + singular_values + scales +
         interpolation_bytes(kind, h, k);
}

}  // namespace hack::svd
