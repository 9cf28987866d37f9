#pragma once

#include <hdf5.h>

#include <cstdint>
#include <string>
#include <vector>

#include "svd/archive/matrix_part.hpp"

namespace hack::svd {

/// The term table of a matrix in an archive, column by column. Structures and codecs are numbers that index the
/// legends, which archives carry as attributes of their root: a reader goes by names, so that numbers may change.
struct TermColumns {
  TermColumns() = default;
  explicit TermColumns(const MatrixPart& part);

  std::vector<std::int32_t> extents;     // (terms, 4) first row, first column, rows, columns
  std::vector<std::uint8_t> structures;  // (terms)
  std::vector<std::uint8_t> codecs;      // (terms)
  std::vector<std::int32_t> ranks;       // (terms)
  std::vector<std::uint64_t> digests;    // (terms)
};

/// Calls f(name, type in the file, numbers of a term, column) for each column; the only list of them.
template <class Columns, class F>
void for_each_column(Columns& columns, F f) {
  f("extent", H5T_STD_I32LE, index_t{4}, columns.extents);
  f("structure", H5T_STD_U8LE, index_t{1}, columns.structures);
  f("codec", H5T_STD_U8LE, index_t{1}, columns.codecs);
  f("rank", H5T_STD_I32LE, index_t{1}, columns.ranks);
  f("digest", H5T_STD_U64LE, index_t{1}, columns.digests);
}

/// Names in the order of their numbers, with spaces between them.
std::string structure_legend();
std::string codec_legend();

/// What the numbers of a file mean, by its legends. An Error where a legend has a name that this program does not know.
struct Legends {
  std::vector<Structure> structures;
  std::vector<Codec> codecs;
};
Legends parse_legends(const std::string& structures, const std::string& codecs);

/// The entries that columns stand for. An Error names the term where a number has no meaning, an extent is neither a
/// tile of the grid nor the whole matrix, or a rank is impossible.
std::vector<TermEntry> entries_of(const TermColumns& columns, const TileGrid& grid, const Legends& legends);

}  // namespace hack::svd
