#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "svd/archive/archive_info.hpp"
#include "svd/archive/matrix_table.hpp"
#include "svd/tile/stored_tile.hpp"

namespace hack::svd {

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
  /// Reads the terms that cover the whole matrix; most have none.
  virtual std::vector<StoredTerm> read_whole_terms(std::string_view name) const = 0;
};

}  // namespace hack::svd
