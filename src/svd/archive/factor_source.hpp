#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "svd/archive/archive_info.hpp"
#include "svd/tile/stored_tile.hpp"

namespace hack::svd {

/// What became of the tiles of one matrix; tiles by number, i * J + j.
struct MatrixTable {
  TileGrid grid;
  std::vector<std::int32_t> ranks;        // (I * J)
  std::vector<kernels::Structure> kinds;  // (I * J)
  std::vector<double> energies;           // (I * J) Σ σ²
  std::vector<double> discarded;          // (I * J) of it left out
  index_t bytes_factors = 0;
  index_t bytes_dense = 0;
};

/// Compressed matrices as inference takes them, wherever their tiles come from: a factor archive, or kept vectors cut
/// to other ranks. Each rank reads by itself and only what it asks for.
class FactorSource {
 public:
  virtual ~FactorSource() = default;

  virtual const ArchiveInfo& info() const = 0;
  /// Names, sorted.
  virtual const std::vector<std::string>& matrices() const = 0;
  virtual bool contains(std::string_view name) const = 0;
  /// An Error if there is no such matrix.
  virtual const MatrixTable& matrix(std::string_view name) const = 0;
  /// Reads tiles (i, first_col) … (i, last_col - 1).
  virtual std::vector<StoredTile> read_tiles(std::string_view name, index_t i, index_t first_col,
                                             index_t last_col) const = 0;
};

}  // namespace hack::svd
