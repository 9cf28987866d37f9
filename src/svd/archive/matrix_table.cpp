#include "svd/archive/matrix_table.hpp"

#include "kernels/error.hpp"
#include "svd/tile/storage.hpp"

namespace hack::svd {

std::span<const TermEntry> MatrixTable::terms_of(index_t tile) const {
  const auto first = static_cast<std::size_t>(first_terms[static_cast<std::size_t>(tile)]);
  const auto last = static_cast<std::size_t>(first_terms[static_cast<std::size_t>(tile) + 1]);
  return std::span(terms).subspan(first, last - first);
}

std::span<const TermEntry> MatrixTable::whole_terms() const {
  return std::span(terms).subspan(static_cast<std::size_t>(first_terms.back()));
}

Tile MatrixTable::extent_of(const TermEntry& term) const {
  if (term.tile == TermEntry::whole_matrix) return {0, 0, 0, 0, grid.rows(), grid.cols()};
  return grid.tile(term.tile);
}

index_t MatrixTable::bytes_of(const TermEntry& term) const {
  const Tile at = extent_of(term);
  return term_bytes(term.structure, term.codec, at.height, at.width, term.rank);
}

index_t MatrixTable::stored_bytes_of(index_t tile) const {
  index_t bytes = table_entry_bytes;
  for (const TermEntry& term : terms_of(tile)) bytes += bytes_of(term);
  return bytes;
}

void MatrixTable::index_terms() {
  first_terms = {0};
  index_t term = 0;
  for (index_t tile = 0; tile < grid.size(); ++tile) {
    const index_t first = term;
    while (term < std::ssize(terms) && terms[static_cast<std::size_t>(term)].tile == tile) ++term;
    const Tile at = grid.tile(tile);
    validate(term > first, "tile ({}, {}) has no term, or its terms stand at another place (dataset 'extent')", at.i,
             at.j);
    validate(term - first <= most_terms, "tile ({}, {}) has {} terms (dataset 'extent'; at most {} are possible)", at.i,
             at.j, term - first, most_terms);
    first_terms.push_back(term);
  }
  validate(std::ssize(terms) - term <= most_terms,
           "{} terms stand behind those of all tiles (dataset 'extent'; at most {} are possible)",
           std::ssize(terms) - term, most_terms);
  for (; term < std::ssize(terms); ++term) {
    validate(terms[static_cast<std::size_t>(term)].tile == TermEntry::whole_matrix,
             "term {} stands behind those of all tiles (dataset 'extent'), but does not cover the whole matrix", term);
  }
}

}  // namespace hack::svd
