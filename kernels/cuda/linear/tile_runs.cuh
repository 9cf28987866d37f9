#pragma once

#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

// How the tiles of a factored matrix are shared out to thread blocks that take a tile's right rows and its left rows in
// one go: lists made once for each matrix (tile_runs.cpp) and kept in device memory.

/// Some right rows of one tile: z of theirs; or a dense tile, whose z is x itself. A warp's work.
struct RunPart {
  index_t codes = 0;   // where the rows start, in bytes
  index_t scales = 0;  // and their scales
  int rows = 0;        // 0: dense
  int row_bytes = 0;
  int row_scales = 0;  // bytes of a row's scales
  int col = 0;         // of x
  int width = 0;       // of the tile
  int scale = -1;      // singular values of two factors; -1: none
  int z = 0;           // where the results stand in the block's z
};

/// Left codes that are multiplied with one load's numbers of z: a load of 16 bytes, or a run of a block, in each row.
struct alignas(16) RunLoad {
  static constexpr int part_at = 16, table_mask = (1 << part_at) - 1;
  index_t codes = 0;  // of the first row, in bytes
  int row_bytes = 0;
  int table_and_part = 0;  // word of the rows' table that says where rows are stored; of its block, or, of plain
                           // numbers, how many are the tile's
  index_t scales = 0;      // of the first row
  int row_scales = 0;
};
static_assert(sizeof(RunLoad) == 32);

/// An interpolative tile of a run.
struct RunSkeleton {
  int eights = 0;  // its rows by eights (FactoredPlanLists::skeleton)
  int z = 0;       // where the number of its first skeleton row stands
};

/// Consecutive tiles of a tile row, and the numbers of y that they add to: a block's work.
struct TileRun {
  int first_part = 0, last_part = 0;
  int first_load = 0, last_load = 0;
  int first_skeleton = 0, last_skeleton = 0;
  int y = 0;         // first row
  int rows = 0;      // at most TileRuns::most_rows
  int table = 0;     // words of a table of its rows, those by fours
  int number = 0;    // in the tile row
  int tile_row = 0;  // of the matrix
};

/// The runs of one matrix.
struct TileRuns {
  static constexpr int most_rows = 128;     // of a tile, and most columns, and the highest rank
  static constexpr int part_rows = 32;      // of a part
  static constexpr int columns = 1024;      // of a run, at most
  static constexpr int numbers = 1024;      // of a run's z, with what its loads have beside
  static constexpr int loads_of_turn = 16;  // loads are padded to a multiple of this
  static constexpr int table_words = 1536;  // where rows are stored: of all tiles without skeletons, and of each other
  static constexpr int blocks_wanted = 3;   // of each multiprocessor

  const TileRun* runs = nullptr;
  const RunPart* parts = nullptr;
  const RunLoad* loads = nullptr;
  const RunSkeleton* skeletons = nullptr;
  const int* counts = nullptr;       // runs of each tile row
  std::uint32_t* tickets = nullptr;  // of each tile row: its runs that are done, 0 between launches
  index_t count = 0;                 // 0: tiles are too large, or there are none
  index_t most = 0;                  // in a tile row
  bool is_aligned = true;            // all rows begin at 16 bytes, or are read in runs of blocks
};

}  // namespace hack::kernels::cuda
