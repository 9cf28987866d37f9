#include "svd/archive/term_columns.hpp"

#include <algorithm>
#include <sstream>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

Tile whole(const TileGrid& grid) { return {0, 0, 0, 0, grid.rows(), grid.cols()}; }

/// The tile that begins there, or the whole matrix.
index_t tile_at(const std::int32_t* extent, const TileGrid& grid, std::size_t term) {
  const auto is = [&](const Tile& at) {
    return extent[0] == at.row && extent[1] == at.col && extent[2] == at.height && extent[3] == at.width;
  };
  const bool is_inside = extent[0] >= 0 && extent[1] >= 0 && extent[0] < grid.rows() && extent[1] < grid.cols();
  if (is_inside) {
    const index_t number = extent[0] / grid.tile_height() * grid.tile_cols() + extent[1] / grid.tile_width();
    if (is(grid.tile(number))) return number;
  }
  validate(is(whole(grid)),
           "term {} covers rows {} + {} and columns {} + {} (dataset 'extent'): neither a tile nor the whole matrix",
           term, extent[0], extent[2], extent[1], extent[3]);
  return TermEntry::whole_matrix;
}

template <class T>
T meaning(const std::vector<T>& legend, std::uint8_t number, const char* what, std::size_t term) {
  validate(number < legend.size(), "term {} is of the unknown {} {} (dataset '{}')", term, what, number, what);
  return legend[number];
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> out;
  for (std::string word; stream >> word;) out.push_back(word);
  return out;
}

Structure parse_structure(std::string_view name) {
  for (const Structure structure : structures) {
    if (name == to_string(structure)) return structure;
  }
  fail("its terms may be of the structure '{}', which this program does not know; use a newer program", name);
}

}  // namespace

TermColumns::TermColumns(const MatrixPart& part) {
  for (const TermEntry& term : part.terms) {
    const Tile at = term.tile == TermEntry::whole_matrix ? whole(part.grid) : part.grid.tile(term.tile);
    for (const index_t number : {at.row, at.col, at.height, at.width}) {
      extents.push_back(static_cast<std::int32_t>(number));
    }
    const auto structure = std::find(svd::structures.begin(), svd::structures.end(), term.structure);
    structures.push_back(static_cast<std::uint8_t>(structure - svd::structures.begin()));
    codecs.push_back(static_cast<std::uint8_t>(term.codec));
    ranks.push_back(term.rank);
    digests.push_back(term.digest);
  }
}

std::string structure_legend() {
  std::string legend;
  for (const Structure structure : structures)
    legend += (legend.empty() ? "" : " ") + std::string(to_string(structure));
  return legend;
}

std::string codec_legend() {
  std::string legend;
  for (const CodecSpec& spec : term_codec_specs) legend += (legend.empty() ? "" : " ") + std::string(spec.name);
  return legend;
}

Legends parse_legends(const std::string& structures_text, const std::string& codecs_text) {
  Legends legends;
  for (const std::string& name : words(structures_text)) legends.structures.push_back(parse_structure(name));
  for (const std::string& name : words(codecs_text)) {
    legends.codecs.push_back(parse_codec(name));
    validate(spec_of(legends.codecs.back()).groups == 0, "terms cannot be in {}: its blocks are longer than tiles",
             name);
  }
  return legends;
}

std::vector<TermEntry> entries_of(const TermColumns& columns, const TileGrid& grid, const Legends& legends) {
  std::vector<TermEntry> entries(columns.ranks.size());
  for (std::size_t t = 0; t < entries.size(); ++t) {
    TermEntry& entry = entries[t];
    entry.tile = tile_at(columns.extents.data() + 4 * t, grid, t);
    entry.structure = meaning(legends.structures, columns.structures[t], "structure", t);
    entry.codec = meaning(legends.codecs, columns.codecs[t], "codec", t);
    entry.rank = columns.ranks[t];
    entry.digest = columns.digests[t];
    const Tile at = entry.tile == TermEntry::whole_matrix ? whole(grid) : grid.tile(entry.tile);
    validate(entry.rank >= 0 && entry.rank <= at.full_rank(),
             "tile ({}, {}) has rank {} (dataset 'rank'; it is {} x {})", at.i, at.j, entry.rank, at.height, at.width);
  }
  return entries;
}

}  // namespace hack::svd
