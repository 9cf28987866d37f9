#pragma once

#include "kernels/cuda/linear/tile_runs.cuh"

namespace hack::kernels::cuda {

// How the work of a factored product is shared out to thread blocks: lists made once for each matrix
// (factored_plan.cpp) and kept in device memory. z is the vector in rank space, as FactoredView lays it out.

/// Some rows of one tile's part of V; or a dense tile, whose z is x itself.
struct ProjectionShare {
  index_t v = 0;         // where the rows start, in numbers
  index_t v_scales = 0;  // and their scales, in bytes
  int z = 0;             // where their results go
  int rows = 0;          // 0: dense
  int ld = 0;            // numbers from one row to the next
  int col = 0;           // of x
  int width = 0;         // of the tile
  int scale = -1;        // singular values of two factors; -1: none
};

/// A run of numbers of z_i that one kind of row multiplies with: a part of the stack, or of a tile that is not stacked.
struct RankPiece {
  index_t u = 0;         // where the stack's or the tile's left rows start, in numbers
  index_t u_scales = 0;  // and their scales, in bytes
  int z = 0;             // where the run stands
  int length = 0;        // at most FactoredPlanLists::piece
  int ld = 0;            // numbers from one row to the next
  int offset = 0;        // of the run within a row
  int skeleton = -1;  // of an interpolative tile: its rows by eights, marks in the low byte and the skeleton rows above
                      // them; -1: none
  int first_skeleton = 0;  // TileLayout::first_skeleton
};

/// Pieces whose z stands in shared memory at once.
struct Panel {
  int first_piece = 0;
  int last_piece = 0;
  int z = 0;
  int length = 0;  // at most FactoredPlanLists::panel
};

/// Some rows of y, all in one tile row; or of one of the sums whose sum is y.
struct ExpansionShare {
  int first_panel = 0;
  int last_panel = 0;
  int row = 0;  // the first, counted in the tile row
  int rows = 0;
  int y = 0;      // the first, counted in y
  int split = 0;  // number of the sum
};

/// Into how many splits shares are cut, each a block: one where there are as many shares as the GPU has
/// multiprocessors, else as many as fill it, or `most`.
constexpr index_t splits_of(index_t shares, index_t most, index_t multiprocessors) {
  const index_t wanted = shares > 0 ? (multiprocessors + shares - 1) / shares : 1;
  return wanted < most ? wanted : most < 1 ? 1 : most;
}

/// The lists of one matrix.
///
/// A share of `few` goes through the whole rank space of its tile row, cut into splits (splits_of, at most the pieces
/// of the longest tile row): a split adds up some consecutive pieces, and y is the sum of its sums in their order. A
/// projection goes through its tile's columns, cut likewise where it is launched: a split takes some consecutive groups
/// of 64 columns, and z is the sum of its sums.
struct FactoredPlanLists {
  static constexpr int projected_rows = 64;
  static constexpr int projected_columns = 64;  // that a split takes at least: eight lanes' loads of 16 bytes in bf16
  static constexpr int piece = 256;
  static constexpr int panel = 1024;
  static constexpr int expanded_rows_of_few = 8;
  static constexpr int expanded_rows_of_many = 64;

  const ProjectionShare* projections = nullptr;
  const RankPiece* pieces = nullptr;
  const Panel* panels = nullptr;
  const ExpansionShare* few = nullptr;    // rows of y for few tokens
  const ExpansionShare* many = nullptr;   // and for many
  const ExpansionShare* split = nullptr;  // for few tokens, split by split; nothing where s = 1
  const std::uint32_t* skeleton = nullptr;
  index_t splits = 1;             // of `few`
  index_t projection_splits = 1;  // at most: groups of columns of the widest tile
  index_t multiprocessors = 1;
  index_t projection_count = 0;
  index_t few_count = 0;
  index_t many_count = 0;
  index_t split_count = 0;
  TileRuns tiles;  // for few tokens, where tiles are small
};

/// What row `row` of a tile row (counted there) is in an interpolative tile: a skeleton row, or a row of coefficients.
struct SkeletonRow {
  bool is_skeleton;
  int above;  ///< skeleton rows above it, of the rows that the view has

  HACK_BODY SkeletonRow(const std::uint32_t* eights, int row) {
    const std::uint32_t eight = eights[row / 8];
    std::uint32_t before = eight & ((1u << (row % 8)) - 1);
    before -= before >> 1 & 0x55u;
    before = (before & 0x33u) + (before >> 2 & 0x33u);
    above = static_cast<int>((eight >> 8) + ((before + (before >> 4)) & 0xfu));
    is_skeleton = (eight >> (row % 8) & 1u) != 0;
  }
};

}  // namespace hack::kernels::cuda
