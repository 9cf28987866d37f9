#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "svd/tile/term.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// No row or column of a file's matrix comes near this; below it no product of two sizes and a number's bytes runs
/// over.
inline constexpr index_t largest_matrix_size = index_t{1} << 28;

/// Terms of one tile, or of a whole matrix beside its tiles: more are no archive of this program.
inline constexpr index_t most_terms = 8;

/// A term as the table of its matrix lists it.
struct TermEntry {
  /// In place of a tile's number: the term covers the whole matrix.
  static constexpr index_t whole_matrix = -1;

  index_t tile = 0;  ///< number of the tile that the term is a part of
  Structure structure = Structure::low_rank;
  Codec codec = Codec::f32;
  std::int32_t rank = 0;     ///< k
  std::uint64_t digest = 0;  ///< of the term's bytes (io::digest64)
};

/// What became of a matrix: it is the sum of the terms of its tiles and of those that cover it whole.
struct MatrixTable {
  TileGrid grid;
  std::vector<TermEntry> terms;      // tile after tile, then those of the whole matrix
  std::vector<index_t> first_terms;  // (I * J + 1) first of each tile; the last: first of the whole matrix
  std::vector<double> energies;      // (I * J) Σ σ² of the tile
  std::vector<double> discarded;     // (I * J) of it left out
  index_t bytes_factors = 0;
  index_t bytes_dense = 0;

  std::span<const TermEntry> terms_of(index_t tile) const;
  /// The terms that cover the whole matrix.
  std::span<const TermEntry> whole_terms() const;
  /// The rows and columns that a term covers.
  Tile extent_of(const TermEntry& term) const;
  /// Bytes of a term's arrays.
  index_t bytes_of(const TermEntry& term) const;
  /// What counts as stored of a tile; see stored_bytes().
  index_t stored_bytes_of(index_t tile) const;

  /// Rank and structure of a tile's first term.
  std::int32_t rank(index_t tile) const { return terms_of(tile).front().rank; }
  Structure structure(index_t tile) const { return terms_of(tile).front().structure; }

  /// Sets `first_terms` of the terms. An Error where they are not in the order of their tiles or a tile has none.
  void index_terms();
};

}  // namespace hack::svd
