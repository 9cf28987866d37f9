#include "model/llama/embedding_table.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/error.hpp"
#include "model/llama/names.hpp"

namespace hack::model {
namespace {

/// Rows of a matrix in a codec, filled tile by tile.
class CodedRows {
 public:
  CodedRows(Codec codec, index_t rows, index_t cols)
      : codec_(codec),
        cols_(cols),
        codes_(static_cast<std::size_t>(rows * code_bytes(codec, cols))),
        scales_(static_cast<std::size_t>(rows * scale_bytes(codec, cols))) {}

  /// Puts a tile at its columns, which begin between two blocks.
  void place(const svd::EncodedArray& tile, index_t col) {
    const auto copy = [&](const std::byte* from, index_t width, std::byte* to, index_t at, index_t stride) {
      for (index_t i = 0; i < tile.rows; ++i) std::memcpy(to + i * stride + at, from + i * width, width);
    };
    copy(tile.codes, code_bytes(codec_, tile.cols), codes_.data(), code_bytes(codec_, col), code_bytes(codec_, cols_));
    copy(tile.scales, scale_bytes(codec_, tile.cols), scales_.data(), scale_bytes(codec_, col),
         scale_bytes(codec_, cols_));
  }

  /// Copies rows to rows of a matrix, from its row `at` on.
  template <Device D>
  void copy_to(WeightMatrix<D>& matrix, svd::Range rows, index_t at) const {
    const auto copy = [&](const std::vector<std::byte>& from, std::byte* to, index_t stride) {
      kernels::copy_from_host<D>(to + at * stride, from.data() + rows.begin * stride,
                                 static_cast<std::size_t>(rows.size() * stride));
    };
    copy(codes_, matrix.data(), code_bytes(codec_, cols_));
    copy(scales_, matrix.scales(), scale_bytes(codec_, cols_));
  }

 private:
  Codec codec_;
  index_t cols_;
  std::vector<std::byte> codes_, scales_;
};

/// The one term of a tile of the table.
const svd::StoredTerm& term_of(const svd::StoredTile& tile, Codec codec, index_t col) {
  const svd::StoredTerm& term = tile.terms.front();
  const index_t block = spec_of(codec).block;
  validate(tile.terms.size() == 1 && term.structure == kernels::Structure::dense && term.codec == codec && block > 0 &&
               col % block == 0,
           "{}: the archive's terms cannot be looked up row by row (they are not dense, in one codec whose blocks end "
           "with the tiles); compress the model again",
           embedding_name);
  return term;
}

}  // namespace

template <Device D>
WeightMatrix<D> read_embedding(const WeightSource& source, svd::Range rows) {
  const index_t cols = source.checkpoint.config().hidden_size;
  if (source.archive == nullptr || !source.archive->contains(embedding_name)) {
    return read_weights<D>(source.checkpoint, embedding_name, rows, {0, cols}, source.type);
  }
  const svd::MatrixTable& table = source.archive->matrix(embedding_name);
  const svd::TileGrid& grid = table.grid;
  const Codec codec = table.terms.front().codec;
  validate(grid.rows() == source.checkpoint.config().vocab_size && grid.cols() == cols,
           "{}: the archive has {} x {} numbers, the model {} x {}; compress the model again", embedding_name,
           grid.rows(), grid.cols(), source.checkpoint.config().vocab_size, cols);
  WeightMatrix<D> matrix(rows.size(), cols, codec);
  for (index_t i = 0; i < grid.tile_rows(); ++i) {
    const svd::Tile first = grid.tile(i, 0);
    const svd::Range own = {std::max(rows.begin, first.row), std::min(rows.end, first.row + first.height)};
    if (own.begin >= own.end) continue;
    const std::vector<svd::StoredTile> tiles = source.archive->read_tiles(embedding_name, i, 0, grid.tile_cols());
    CodedRows coded(codec, first.height, cols);
    for (index_t j = 0; j < grid.tile_cols(); ++j) {
      const index_t col = grid.tile(i, j).col;
      coded.place(term_of(tiles[static_cast<std::size_t>(j)], codec, col).left(), col);
    }
    coded.copy_to(matrix, {own.begin - first.row, own.end - first.row}, own.begin - rows.begin);
  }
  return matrix;
}

template WeightMatrix<Device::cpu> read_embedding(const WeightSource&, svd::Range);
template WeightMatrix<Device::cuda> read_embedding(const WeightSource&, svd::Range);

}  // namespace hack::model
