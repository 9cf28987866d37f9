#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "svd/archive/matrix_table.hpp"
#include "svd/choose/rank_policy.hpp"
#include "svd/tile/stored_tile.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// One rank's tiles of a matrix, ready to be written: tiles with the numbers first_tile, first_tile + 1, …
/// append_tiles() fills it.
struct MatrixPart {
  std::string name;
  TileGrid grid;
  index_t first_tile = 0;
  /// Whether spectra are stored, the same on every rank.
  bool has_spectra = true;
  std::vector<TileChoice> tiles;  // (tiles of this rank)
  std::vector<float> spectra;     // (tiles of this rank, grid.max_rank()) whole spectra, then zeros; or nothing
  std::vector<TermEntry> terms;   // of these tiles, tile after tile; on the last rank, then those of the whole matrix
  std::vector<std::byte> bytes;   // the arrays of these terms, one after the other
  std::vector<std::byte> values;  // under rule max-rank: original values, tile after tile in the values' type

  /// Adds a term of the tile that was added last, or one that covers the whole matrix; sets its digest.
  void append(const StoredTerm& term, index_t tile);

  /// These tiles as readers see them.
  std::vector<StoredTile> stored_tiles() const;
};

}  // namespace hack::svd
