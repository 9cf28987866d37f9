#include "svd/archive/matrix_part.hpp"

#include "io/digest.hpp"

namespace hack::svd {

void MatrixPart::append(const StoredTerm& term, index_t tile) {
  terms.push_back({tile, term.structure, term.codec, term.rank, io::digest64(term.bytes)});
  bytes.insert(bytes.end(), term.bytes.begin(), term.bytes.end());
}

std::vector<StoredTile> MatrixPart::stored_tiles() const {
  std::vector<StoredTile> out(tiles.size());
  const std::byte* next = bytes.data();
  for (const TermEntry& entry : terms) {
    if (entry.tile == TermEntry::whole_matrix) break;
    const Tile at = grid.tile(entry.tile);
    StoredTerm term{entry.structure, entry.codec, entry.rank, at.height, at.width, {}};
    const index_t size = term_bytes(term.structure, term.codec, term.height, term.width, term.rank);
    term.bytes.assign(next, next + size);
    next += size;
    out[static_cast<std::size_t>(entry.tile - first_tile)].terms.push_back(std::move(term));
  }
  return out;
}

}  // namespace hack::svd
