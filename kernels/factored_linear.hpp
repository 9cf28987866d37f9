#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

#include "kernels/linear.hpp"

namespace hack::kernels {

/// What a tile is made of.
enum class Structure : std::uint8_t {
  low_rank = 0,       ///< U (h, k), singular values (k), Vᵀ (k, w)
  dense = 1,          ///< its own numbers (h, w)
  interpolative = 2,  ///< k of its rows, the skeleton rows (k, w), and the other rows' coefficients in them (h - k, k)
};

/// Whether a tile whose left rows are in this codec joins a stack (FactoredView) of `length` numbers. Scales of whole
/// rows belong to one tile each and keep tiles apart; those of blocks lie in a row one after the other, as codes do, as
/// long as every tile begins with a block.
constexpr bool joins_stack(Codec codec, Structure kind, index_t length) {
  if (kind == Structure::interpolative) return false;
  const index_t block = spec_of(codec).block;
  return !has_scales(codec) || (kind == Structure::dense && block > 0 && length % block == 0);
}

/// Where a tile lies in a FactoredView.
struct TileLayout {
  Structure kind = Structure::low_rank;
  bool is_stacked = false;  ///< whether its left rows are part of U_i
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
/// make of x_j. z_i holds the blocks of tile row i. The blocks of tiles that are stacked (joins_stack) come first, so
/// that these are one product, y_i = U_i z_i. All other tiles have their left rows for themselves, and each one's
/// product is added to y. Of interpolative tiles z_ij holds y's own numbers where the skeleton rows are, and C z_ij is
/// the others.
///
/// Rows are as long as padded_length() says, a stack's as of one row; offsets count numbers of such rows.
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
  std::span<const index_t> u_scale_offsets{};  // (I) start of U_i's scales, in bytes; none without scales; host
  const FactoredPlan<D>* plan = nullptr;       // made of what stands above; the CPU needs none

  index_t tile_rows() const { return std::ssize(row_offsets) - 1; }
  index_t tile_cols() const { return std::ssize(col_offsets) - 1; }
  index_t rank_space() const { return block_offsets.empty() ? 0 : block_offsets.back(); }
  const TileLayout& tile(index_t i, index_t j) const { return tiles[static_cast<std::size_t>(i * tile_cols() + j)]; }

  /// The plane as one matrix, which it is where all tiles are dense and stacked: each U_i has its rows as they are.
  std::optional<WeightView<D>> as_matrix() const {
    const bool is_one = rows > 0 && cols > 0 && v_offsets.back() == 0 && rank_space() == tile_rows() * cols &&
                        std::ranges::all_of(stack_sizes, [&](index_t size) { return size == cols; });
    if (!is_one) return std::nullopt;
    return WeightView<D>{u, codec, rows, cols, padded_length(codec, cols), u_scales};
  }
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
