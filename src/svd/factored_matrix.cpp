#include "svd/factored_matrix.hpp"

#include <algorithm>

namespace hack::svd {
namespace {

/// The tiles that meet `part` of a dimension whose tiles begin at `offsets`.
Range tiles_that_meet(const std::vector<index_t>& offsets, Range part) {
  if (part.size() == 0) return {0, 0};
  const auto first = std::upper_bound(offsets.begin(), offsets.end(), part.begin) - 1;
  const auto last = std::lower_bound(offsets.begin(), offsets.end(), part.end);
  return {first - offsets.begin(), last - offsets.begin()};
}

/// Where those tiles begin within `part`, then its size.
std::vector<index_t> clipped_offsets(const std::vector<index_t>& offsets, Range tiles, Range part) {
  std::vector<index_t> clipped;
  for (index_t t = tiles.begin; t < tiles.end; ++t) clipped.push_back(std::max<index_t>(0, offsets[t] - part.begin));
  clipped.push_back(part.size());
  return clipped;
}

/// A tile of the archive and the part of it that lies in the block.
struct TilePart {
  const StoredTile& tile;
  DType stored;
  Range rows;     // within the tile
  Range cols;     // within the tile
  index_t width;  // of the whole tile

  bool is_dense() const { return tile.kind == kernels::TileKind::dense; }
  const std::byte* u(index_t row) const {
    const index_t number = is_dense() ? (rows.begin + row) * width + cols.begin : (rows.begin + row) * tile.rank;
    return tile.u.data() + number * size_of(stored);
  }
  const std::byte* v(index_t k) const { return tile.v.data() + (k * width + cols.begin) * size_of(stored); }
};

}  // namespace

template <Device D>
void FactoredMatrix<D>::lay_out(const MatrixEntry& entry, Range rows, Range cols) {
  const std::vector<index_t> all_rows = entry.grid.row_offsets();
  const std::vector<index_t> all_cols = entry.grid.col_offsets();
  tile_rows_ = tiles_that_meet(all_rows, rows);
  tile_cols_ = tiles_that_meet(all_cols, cols);
  row_offsets_ = clipped_offsets(all_rows, tile_rows_, rows);
  col_offsets_ = clipped_offsets(all_cols, tile_cols_, cols);
  const index_t I = tile_rows_.size(), J = tile_cols_.size();
  block_offsets_ = {0};
  u_offsets_ = {0};
  std::vector<index_t> v_rows(J, 0);
  for (index_t i = 0; i < I; ++i) {
    const index_t row_begin = block_offsets_.back();
    for (index_t j = 0; j < J; ++j) {
      const index_t number = (tile_rows_.begin + i) * entry.grid.tile_cols() + tile_cols_.begin + j;
      const bool is_dense = entry.kinds[number] == kernels::TileKind::dense;
      const index_t block = is_dense ? col_offsets_[j + 1] - col_offsets_[j] : entry.ranks[number];
      kinds_.push_back(entry.kinds[number]);
      block_offsets_.push_back(block_offsets_.back() + block);
      if (!is_dense) v_rows[j] += block;
    }
    u_offsets_.push_back(u_offsets_.back() +
                         (row_offsets_[i + 1] - row_offsets_[i]) * (block_offsets_.back() - row_begin));
  }
  v_offsets_ = {0};
  for (index_t j = 0; j < J; ++j)
    v_offsets_.push_back(v_offsets_.back() + v_rows[j] * (col_offsets_[j + 1] - col_offsets_[j]));
}

template <Device D>
FactoredMatrix<D>::FactoredMatrix(const FactorArchive& archive, const std::string& name, Range rows, Range cols,
                                  DType type)
    : type_(type) {
  const MatrixEntry& entry = archive.matrix(name);
  HACK_EXPECT(0 <= rows.begin && rows.begin <= rows.end && rows.end <= entry.grid.rows());
  HACK_EXPECT(0 <= cols.begin && cols.begin <= cols.end && cols.end <= entry.grid.cols());
  lay_out(entry, rows, cols);
  const index_t I = tile_rows_.size(), J = tile_cols_.size();
  Buffer<std::byte> u(u_offsets_.back() * size_of(type));
  Buffer<std::byte> v(v_offsets_.back() * size_of(type));
  std::vector<float> scale(block_offsets_.back(), 1.0f);
  std::vector<index_t> next_v = v_offsets_;  // where the next tile of each tile column goes
  const DType stored = archive.info().compression.factor_type;
  for (index_t i = 0; i < I && J > 0; ++i) {
    const index_t row_space = block_offsets_[(i + 1) * J] - block_offsets_[i * J];  // R_i
    const std::vector<StoredTile> tiles =
        archive.read_tiles(name, tile_rows_.begin + i, tile_cols_.begin, tile_cols_.end);
    for (index_t j = 0; j < J; ++j) {
      const Tile place = entry.grid.tile(tile_rows_.begin + i, tile_cols_.begin + j);
      const Range in_rows = intersect({place.row, place.row + place.height}, rows);
      const Range in_cols = intersect({place.col, place.col + place.width}, cols);
      const TilePart part{tiles[j],
                          stored,
                          {in_rows.begin - place.row, in_rows.end - place.row},
                          {in_cols.begin - place.col, in_cols.end - place.col},
                          place.width};
      const index_t begin = block_offsets_[i * J + j];
      const index_t block = block_offsets_[i * J + j + 1] - begin;
      for (index_t r = 0; r < in_rows.size(); ++r) {
        const index_t to = u_offsets_[i] + r * row_space + begin - block_offsets_[i * J];
        convert(part.u(r), stored, u.data() + to * size_of(type), type, block);
      }
      if (part.is_dense()) continue;
      std::copy(tiles[j].sigma.begin(), tiles[j].sigma.end(), scale.begin() + begin);
      for (index_t k = 0; k < block; ++k, next_v[j] += in_cols.size()) {
        convert(part.v(k), stored, v.data() + next_v[j] * size_of(type), type, in_cols.size());
      }
    }
  }
  if constexpr (D == Device::cpu) {
    u_ = std::move(u);
    v_ = std::move(v);
  } else {
    u_ = to_device<D>(u.data(), u.size());
    v_ = to_device<D>(v.data(), v.size());
  }
  scale_ = to_device<D>(scale.data(), std::ssize(scale));
}

template <Device D>
kernels::FactoredView<D> FactoredMatrix<D>::view() const {
  return {rows(), cols(),    type_,      row_offsets_, col_offsets_, block_offsets_,
          kinds_, u_.data(), u_offsets_, v_.data(),    v_offsets_,   scale_.data()};
}

template class FactoredMatrix<Device::cpu>;
template class FactoredMatrix<Device::cuda>;

}  // namespace hack::svd
