#include "svd/archive/part_record.hpp"

#include <algorithm>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

/// Of a record that was not changed and yet may say anything.
void check_part(const MatrixPart& part) {
  const index_t tiles = std::ssize(part.tiles), spectra = part.has_spectra ? tiles * part.grid.max_rank() : 0;
  validate(!part.name.empty(), "a matrix has no name");
  validate(part.first_tile >= 0 && part.first_tile <= part.grid.size() && tiles <= part.grid.size() - part.first_tile,
           "matrix {} has {} tiles from tile {} on, of {}", part.name, tiles, part.first_tile, part.grid.size());
  validate(std::ssize(part.spectra) == spectra, "matrix {} has {} singular values ({} expected)", part.name,
           part.spectra.size(), spectra);
  index_t left = std::ssize(part.bytes);
  for (const TermEntry& term : part.terms) {
    const bool is_whole = term.tile == TermEntry::whole_matrix;
    validate(is_whole || (term.tile >= part.first_tile && term.tile < part.first_tile + tiles),
             "matrix {} has a term of tile {}", part.name, term.tile);
    const Tile at = is_whole ? Tile{0, 0, 0, 0, part.grid.rows(), part.grid.cols()} : part.grid.tile(term.tile);
    validate(std::count(structures.begin(), structures.end(), term.structure) > 0 &&
                 static_cast<std::size_t>(term.codec) < term_codec_specs.size() && term.rank >= 0 &&
                 term.rank <= at.full_rank(),
             "a term of matrix {} has the structure {}, the codec {} and the rank {}", part.name,
             static_cast<int>(term.structure), static_cast<int>(term.codec), term.rank);
    left -= term_bytes(term.structure, term.codec, at.height, at.width, term.rank);
    validate(left >= 0, "the terms of matrix {} need more than its {} bytes", part.name, part.bytes.size());
  }
  validate(left == 0, "the terms of matrix {} leave {} of its bytes", part.name, left);
  for (const StoredTile& tile : part.stored_tiles()) {
    for (const StoredTerm& term : tile.terms) check_term({0, 0, 0, 0, term.height, term.width}, term);
  }
}

template <class Writer>
void write_part(Writer& record, const MatrixPart& part) {
  record.put(part.name);
  record.put(part.grid.rows());
  record.put(part.grid.cols());
  record.put(part.grid.tile_height());
  record.put(part.grid.tile_width());
  record.put(part.first_tile);
  record.put(static_cast<std::uint8_t>(part.has_spectra));
  record.put_rows(part.tiles, &TileChoice::kind, &TileChoice::rank, &TileChoice::energy, &TileChoice::discarded);
  record.put(part.spectra);
  record.put_rows(part.terms, &TermEntry::tile, &TermEntry::structure, &TermEntry::codec, &TermEntry::rank,
                  &TermEntry::digest);
  record.put(part.bytes);
  record.put(part.values);
}

template <class Writer>
void write_summary(Writer& record, const CompressionSummary& summary) {
  record.put(summary.name);
  record.put(summary.bytes_factors);
  record.put(summary.bytes_dense);
  record.put(summary.energy);
  record.put(summary.discarded);
  record.put(summary.tiles);
  record.put(summary.dense_tiles);
  record.put(summary.min_rank);
  record.put(summary.max_rank);
  record.put(summary.mean_rank);
}

}  // namespace

void put_part(io::ByteWriter& record, const MatrixPart& part) { write_part(record, part); }
void put_part(io::PieceWriter& record, const MatrixPart& part) { write_part(record, part); }

void put_summary(io::ByteWriter& record, const CompressionSummary& summary) { write_summary(record, summary); }
void put_summary(io::PieceWriter& record, const CompressionSummary& summary) { write_summary(record, summary); }

MatrixPart get_part(io::ByteReader& record) {
  std::string name = record.get_text();
  const auto rows = record.get<index_t>();
  const auto cols = record.get<index_t>();
  const auto height = record.get<index_t>();
  const auto width = record.get<index_t>();
  for (const index_t size : {rows, cols, height, width}) {
    validate(size >= 1 && size <= largest_matrix_size, "a size of matrix {} is {}", name, size);
  }
  MatrixPart part{.name = std::move(name), .grid = TileGrid(rows, cols, height, width)};
  part.first_tile = record.get<index_t>();
  part.has_spectra = record.get<std::uint8_t>() != 0;
  part.tiles = record.get_vector<TileChoice>();
  part.spectra = record.get_vector<float>();
  part.terms = record.get_vector<TermEntry>();
  part.bytes = record.get_vector<std::byte>();
  part.values = record.get_vector<std::byte>();
  check_part(part);
  return part;
}

CompressionSummary get_summary(io::ByteReader& record) {
  CompressionSummary summary;
  summary.name = record.get_text();
  summary.bytes_factors = record.get<index_t>();
  summary.bytes_dense = record.get<index_t>();
  summary.energy = record.get<double>();
  summary.discarded = record.get<double>();
  summary.tiles = record.get<index_t>();
  summary.dense_tiles = record.get<index_t>();
  summary.min_rank = record.get<index_t>();
  summary.max_rank = record.get<index_t>();
  summary.mean_rank = record.get<double>();
  return summary;
}

}  // namespace hack::svd
