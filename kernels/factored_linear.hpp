#pragma once

#include <cstdint>
#include <span>

#include "kernels/linear.hpp"

namespace hack::kernels {

/// How a tile is stored.
enum class TileKind : std::uint8_t {
  factors = 0,  ///< U (h, k), singular values (k), Vᵀ (k, w)
  dense = 1,    ///< its own numbers (h, w)
  pivoted = 2,  ///< k of its rows, the pivots (k, w), and the other rows' coefficients in them (h - k, k)
};

/// A matrix (rows, cols) cut into I × J tiles, kept as stacked factors. In rank space every tile (i, j) has a block
/// z_ij: k numbers s ∘ (Vᵀ x_j) of a factored tile, the w numbers x_j themselves of a dense one (whose "U" is the
/// tile). Blocks lie row by row, z = [z_11 z_12 … | z_21 …], so that a tile row is one product: y_i = U_i · z_i.
template <Device D>
struct FactoredView {
  index_t rows = 0;
  index_t cols = 0;
  DType type = DType::f32;

  std::span<const index_t> row_offsets;    // (I + 1) first row of each tile row; host
  std::span<const index_t> col_offsets;    // (J + 1) first column of each tile column; host
  std::span<const index_t> block_offsets;  // (I * J + 1) start of z_ij at index i * J + j; host
  std::span<const TileKind> kinds;         // (I * J) host

  const std::byte* u = nullptr;        // tile row i: (h_i, R_i) row-major, R_i = length of z_i; rows follow each other
  std::span<const index_t> u_offsets;  // (I + 1) start of U_i, in numbers; host
  const std::byte* v = nullptr;  // tile column j: (K_j, w_j) row-major, the Vᵀ of its factored tiles, top to bottom
  std::span<const index_t> v_offsets;  // (J + 1) start of V_j, in numbers; host
  const float* scale = nullptr;        // (length of z) singular values; 1 for dense tiles

  index_t tile_rows() const { return std::ssize(row_offsets) - 1; }
  index_t tile_cols() const { return std::ssize(col_offsets) - 1; }
  index_t rank_space() const { return block_offsets.empty() ? 0 : block_offsets.back(); }
};

/// y = x Wᵀ for a W kept as factors, without forming it: z = s ∘ (x_j V_j) for each tile column, then y_i = z_i U_iᵀ
/// for each tile row. x (tokens, cols), y (tokens, rows). 2k(h + w) flops per tile and token in place of 2hw. Bits do
/// not depend on the number of threads.
template <Device D>
void factored_linear(Queue<D>& queue, MatrixView<const float, D> x, const FactoredView<D>& w, MatrixView<float, D> y);

}  // namespace hack::kernels
