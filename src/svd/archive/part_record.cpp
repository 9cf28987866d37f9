#include "svd/archive/part_record.hpp"

namespace hack::svd {
namespace {

template <class Writer>
void write_part(Writer& record, const MatrixPart& part) {
  record.put(part.name);
  record.put(part.grid.rows());
  record.put(part.grid.cols());
  record.put(part.grid.tile_height());
  record.put(part.grid.tile_width());
  record.put(part.first_tile);
  record.put(part.has_spectra);
  record.put(part.tiles);
  record.put(part.spectra);
  record.put(part.terms);
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
  MatrixPart part{.name = std::move(name), .grid = TileGrid(rows, cols, height, width)};
  part.first_tile = record.get<index_t>();
  part.has_spectra = record.get<bool>();
  part.tiles = record.get_vector<TileChoice>();
  part.spectra = record.get_vector<float>();
  part.terms = record.get_vector<TermEntry>();
  part.bytes = record.get_vector<std::byte>();
  part.values = record.get_vector<std::byte>();
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
