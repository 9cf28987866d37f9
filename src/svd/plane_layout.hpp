#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/factored_linear.hpp"
#include "svd/tile/range.hpp"
#include "svd/tile/stored_tile.hpp"

namespace hack::svd {

/// A stored term and where its first row and column lie in the matrix; or nothing.
struct PlacedTerm {
  const StoredTerm* term = nullptr;
  index_t row = 0;
  index_t col = 0;
};

/// A plane of the rows × cols block of a matrix while it is put together on the host: first begin_row() for each of its
/// tile rows, from above, and end_rows(); then copy_row() for each, after which that row's terms may go.
class PlaneLayout {
 public:
  /// Tiles begin at the offsets, counted in the block, whose sizes are the last ones. Terms with scales are in `codec`;
  /// of others numbers are converted to it.
  PlaneLayout(Codec codec, std::vector<index_t> row_offsets, std::vector<index_t> col_offsets, Range rows, Range cols);

  /// Finds places for the next tile row's terms (J).
  void begin_row(std::span<const PlacedTerm> terms);
  /// Finds places for right rows and makes room for all numbers.
  void end_rows();
  /// Copies what tile row i has in the block. The terms are those of begin_row().
  void copy_row(index_t i, std::span<const PlacedTerm> terms);

  Codec codec;
  Range rows, cols;  ///< of the matrix
  std::vector<index_t> row_offsets, col_offsets, block_offsets{0}, stack_sizes, u_offsets{0}, v_offsets{0};
  std::vector<index_t> v_scale_offsets;  ///< (J + 1), or none
  std::vector<index_t> u_scale_offsets;  ///< (I), or none
  std::vector<kernels::TileLayout> tiles;
  Buffer<std::byte> u, v, u_scales, v_scales;
  std::vector<float> scale;  ///< singular values
  std::vector<std::uint8_t> marks;

 private:
  /// Marks the term's skeleton rows that the tile row has; returns how many.
  index_t mark_skeleton(const PlacedTerm& placed, index_t first, index_t height, kernels::TileLayout& tile);
  void copy_left(const PlacedTerm& placed, index_t i, const kernels::TileLayout& tile);
  void copy_right(const PlacedTerm& placed, index_t j, const kernels::TileLayout& tile);

  index_t u_scale_bytes_ = 0;
  std::vector<index_t> next_v_, next_v_scales_;  // where the next tile of each tile column goes
};

}  // namespace hack::svd
