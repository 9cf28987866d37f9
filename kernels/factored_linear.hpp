#pragma once

#include <cstdint>
#include <span>

#include "kernels/linear.hpp"

namespace hack::kernels {

/// What a tile is made of.
enum class Structure : std::uint8_t {
  low_rank = 0,       ///< U (h, k), singular values (k), Vᵀ (k, w)
  dense = 1,          ///< its own numbers (h, w)
  interpolative = 2,  ///< k of its rows, the skeleton rows (k, w), and the other rows' coefficients in them (h - k, k)
};

/// Where a tile lies in a FactoredView.
struct TileLayout {
  Structure kind = Structure::low_rank;
  index_t block = 0;        ///< start of z_ij in rank space
  index_t size = 0;         ///< its length
  index_t scale = 0;        ///< of two factors: start of their singular values
  index_t left = 0;         ///< of a tile that is not stacked: start of its left rows, in numbers of u
  index_t left_scales = 0;  ///< and of their scales, in bytes of u_scales
  index_t marks = 0;        ///< of an interpolative tile: start of the marks on its rows
  index_t first_skeleton =
      0;  ///< of an interpolative tile: how many skeleton rows lie above the rows that the view has of it
};

/// What a device works out once for a matrix, to multiply with it many times.
template <Device D>
class FactoredPlan;

/// A plane of a matrix (rows, cols): its I × J tiles with one term each, all in one codec, kept in less than the
/// matrix's own numbers. A tile without a term is of low rank 0. A matrix is the sum of its planes, most often of one.
///
/// In rank space every tile (i, j) has a block z_ij: k numbers s ∘ (Vᵀ x_j) of two factors, the w numbers x_j
/// themselves of a dense tile (whose "U" is the tile), of an interpolative tile the k numbers that its skeleton rows
/// make of x_j. z_i holds the blocks of tile row i. Without scales the blocks of factors and dense tiles come first, so
/// that these are one product, y_i = U_i z_i: they are stacked. All other tiles have their left rows for themselves,
/// and each one's product is added to y: with scales, which belong to rows of one tile, all tiles; otherwise the
/// interpolative ones, whose z_ij holds y's own numbers where the skeleton rows are, and whose C z_ij is the others.
///
/// Rows are as long as padded_length() says; offsets count numbers of such rows.
template <Device D>
struct FactoredView {
  index_t rows = 0;
  index_t cols = 0;
  Codec codec = Codec::f32;

  std::span<const index_t> row_offsets;    // (I + 1) first row of each tile row; host
  std::span<const index_t> col_offsets;    // (J + 1) first column of each tile column; host
  std::span<const index_t> block_offsets;  // (I + 1) start of z_i; host
  std::span<const index_t> stack_sizes;    // (I) R_i, length of the first part of z_i; host
  std::span<const TileLayout> tiles;       // (I * J) host

  const std::byte* u =
      nullptr;  // tile row i: U_i (h_i, R_i), then left rows tile after tile, of C (h_i - skeleton rows, k); row-major
  std::span<const index_t> u_offsets;  // (I + 1) start of U_i, in numbers; host
  const std::byte* v = nullptr;  // tile column j: (K_j, w_j) row-major, Vᵀ or skeleton rows of its tiles, top to bottom
  std::span<const index_t> v_offsets;          // (J + 1) start of V_j, in numbers; host
  const float* scale = nullptr;                // singular values of two factors
  const std::uint8_t* marks = nullptr;         // which rows of an interpolative tile are skeleton rows (row_marks.hpp)
  const std::byte* u_scales = nullptr;         // of the codec, row after row, as u lies
  const std::byte* v_scales = nullptr;         // as v lies
  std::span<const index_t> v_scale_offsets{};  // (J + 1) start of V_j's scales, in bytes; none without scales; host
  const FactoredPlan<D>* plan = nullptr;       // made of what stands above; the CPU needs none

  index_t tile_rows() const { return std::ssize(row_offsets) - 1; }
  index_t tile_cols() const { return std::ssize(col_offsets) - 1; }
  index_t rank_space() const { return block_offsets.empty() ? 0 : block_offsets.back(); }
  const TileLayout& tile(index_t i, index_t j) const { return tiles[static_cast<std::size_t>(i * tile_cols() + j)]; }
};

template <>
class FactoredPlan<Device::cpu> {
 public:
  explicit FactoredPlan(const FactoredView<Device::cpu>&, const std::uint8_t* /*marks*/) {}
};

/// The shares of thread blocks, in device memory.
template <>
class FactoredPlan<Device::cuda> {
 public:
  /// `marks`: those of the view, in host memory.
  FactoredPlan(const FactoredView<Device::cuda>& view, const std::uint8_t* marks);

  /// cuda::FactoredPlanLists, on the host.
  const std::byte* shares() const { return shares_.data(); }
  index_t bytes() const { return lists_.bytes(); }

 private:
  Buffer<std::byte, Device::cuda> lists_;
  Buffer<std::byte> shares_;
};

/// y = x Wᵀ, or y += x Wᵀ, without forming W: z for each tile column, then y for each tile row. x (tokens, cols), y
/// (tokens, rows). 2k(h + w) flops per tile and token of two factors, 2k(h + w - k) of an interpolative tile, in place
/// of 2hw. Bits do not depend on the number of threads.
template <Device D>
void factored_linear(Queue<D>& queue, MatrixView<const float, D> x, const FactoredView<D>& w, MatrixView<float, D> y,
                     Write write = Write::replace);

/// y = x Wᵀ of W the sum of planes, at least one, in their order.
template <Device D>
void factored_sum(Queue<D>& queue, MatrixView<const float, D> x, std::span<const FactoredView<D>> planes,
                  MatrixView<float, D> y) {
  for (std::size_t p = 0; p < planes.size(); ++p) {
    factored_linear(queue, x, planes[p], y, p == 0 ? Write::replace : Write::add);
  }
}

}  // namespace hack::kernels
