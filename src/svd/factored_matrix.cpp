#include "svd/factored_matrix.hpp"

#include <algorithm>

#include "kernels/row_marks.hpp"

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

/// The term of a tile of the archive, its numbers as f32, and the part of it that lies in the block.
struct TilePart {
  const StoredTerm& term;
  const std::vector<float>& left;
  const std::vector<float>& right;
  Range rows;     // within the tile
  Range cols;     // within the tile
  index_t width;  // of the whole tile

  /// Number `col` of row `row` of the left array, whose rows have `length` numbers, or of the right one.
  const float* u(index_t row, index_t length, index_t col) const { return left.data() + row * length + col; }
  const float* v(index_t k) const { return right.data() + k * width + cols.begin; }
};

/// The numbers of an encoded array.
std::vector<float> widened(const EncodedArray& array) {
  std::vector<float> numbers(static_cast<std::size_t>(array.rows * array.cols));
  array.widen_to(numbers.data());
  return numbers;
}

/// Where numbers go, in the type they are held in.
struct Target {
  std::byte* numbers;
  DType type;

  void put(index_t at, const float* from, index_t count) const {
    convert(from, DType::f32, numbers + at * size_of(type), type, count);
  }
};

/// Copies the part's rows of U or of a dense tile into the stack that starts at `start` with rows of `length` numbers.
void copy_stacked(const TilePart& part, index_t start, index_t length, index_t size, const Target& u) {
  const bool is_dense = part.term.structure == kernels::Structure::dense;
  for (index_t r = 0; r < part.rows.size(); ++r) {
    const index_t row = part.rows.begin + r;
    u.put(start + r * length, is_dense ? part.u(row, part.width, part.cols.begin) : part.u(row, part.term.rank, 0),
          size);
  }
}

/// Copies the coefficients of the part's rows.
void copy_coefficients(const TilePart& part, const kernels::TileLayout& layout, const Target& u) {
  const std::vector<index_t> skeleton = part.term.skeleton();
  const auto skeleton_before = [&](index_t row) {
    return std::lower_bound(skeleton.begin(), skeleton.end(), row) - skeleton.begin();
  };
  const index_t first = part.rows.begin - skeleton_before(part.rows.begin);
  const index_t last = part.rows.end - skeleton_before(part.rows.end);
  u.put(layout.left, part.u(first, part.term.rank, 0), (last - first) * part.term.rank);
}

}  // namespace

template <Device D>
void FactoredMatrix<D>::lay_out_row(const TileGrid& grid, const TileRow& tiles, index_t i,
                                    std::vector<std::uint8_t>& marks) {
  using kernels::Structure;
  const index_t J = tile_cols_.size();
  const index_t height = row_offsets_[i + 1] - row_offsets_[i];
  kernels::TileLayout* row = tiles_.data() + i * J;
  index_t block = block_offsets_.back();
  for (index_t j = 0; j < J; ++j) {
    row[j].kind = tiles[j].terms.front().structure;
    row[j].size = row[j].kind == Structure::dense ? col_offsets_[j + 1] - col_offsets_[j] : tiles[j].terms.front().rank;
    if (row[j].kind == Structure::interpolative) continue;
    row[j].block = block;
    block += row[j].size;
    if (row[j].kind == Structure::dense) continue;
    row[j].scale = scales_;
    scales_ += row[j].size;
  }
  stack_sizes_.push_back(block - block_offsets_.back());
  index_t u = u_offsets_.back() + height * stack_sizes_.back();
  for (index_t j = 0; j < J; ++j) {
    if (row[j].kind != Structure::interpolative) continue;
    const Tile tile = grid.tile(tile_rows_.begin + i, tile_cols_.begin + j);
    const index_t first = rows_.begin + row_offsets_[i] - tile.row;  // row of the tile
    row[j].block = block;
    block += row[j].size;
    row[j].left = u;
    row[j].marks = std::ssize(marks);
    marks.resize(marks.size() + static_cast<std::size_t>(kernels::mark_bytes(height)), 0);
    index_t skeleton = 0;
    for (const index_t skeleton_row : tiles[j].terms.front().skeleton()) {
      row[j].first_skeleton += skeleton_row < first;
      if (skeleton_row < first || skeleton_row >= first + height) continue;
      kernels::mark(marks.data() + row[j].marks, skeleton_row - first);
      ++skeleton;
    }
    u += (height - skeleton) * row[j].size;
  }
  block_offsets_.push_back(block);
  u_offsets_.push_back(u);
}

template <Device D>
void FactoredMatrix<D>::clip(const TileGrid& grid) {
  const std::vector<index_t> all_rows = grid.row_offsets();
  const std::vector<index_t> all_cols = grid.col_offsets();
  tile_rows_ = tiles_that_meet(all_rows, rows_);
  tile_cols_ = tiles_that_meet(all_cols, cols_);
  row_offsets_ = clipped_offsets(all_rows, tile_rows_, rows_);
  col_offsets_ = clipped_offsets(all_cols, tile_cols_, cols_);
}

template <Device D>
std::vector<std::uint8_t> FactoredMatrix<D>::lay_out(const TileGrid& grid, const std::vector<TileRow>& tiles) {
  const index_t I = tile_rows_.size(), J = tile_cols_.size();
  block_offsets_ = u_offsets_ = v_offsets_ = {0};
  tiles_.resize(static_cast<std::size_t>(I * J));
  std::vector<std::uint8_t> marks;
  for (index_t i = 0; i < I; ++i) lay_out_row(grid, tiles[i], i, marks);
  for (index_t j = 0; j < J; ++j) {
    index_t rows = 0;
    for (index_t i = 0; i < I; ++i) {
      const kernels::TileLayout& tile = tiles_[i * J + j];
      if (tile.kind != kernels::Structure::dense) rows += tile.size;
    }
    v_offsets_.push_back(v_offsets_.back() + rows * (col_offsets_[j + 1] - col_offsets_[j]));
  }
  return marks;
}

template <Device D>
FactoredMatrix<D>::FactoredMatrix(const FactorSource& source, const std::string& name, Range rows, Range cols,
                                  DType type)
    : type_(type), rows_(rows), cols_(cols) {
  const TileGrid& grid = source.matrix(name).grid;
  HACK_EXPECT(0 <= rows.begin && rows.begin <= rows.end && rows.end <= grid.rows());
  HACK_EXPECT(0 <= cols.begin && cols.begin <= cols.end && cols.end <= grid.cols());
  clip(grid);
  const index_t I = tile_rows_.size(), J = tile_cols_.size();
  std::vector<TileRow> stored_tiles;  // (I) of (J)
  for (index_t i = 0; i < I; ++i) {
    stored_tiles.push_back(J > 0 ? source.read_tiles(name, tile_rows_.begin + i, tile_cols_.begin, tile_cols_.end)
                                 : TileRow());
  }
  const std::vector<std::uint8_t> marks = lay_out(grid, stored_tiles);
  Buffer<std::byte> u(u_offsets_.back() * size_of(type));
  Buffer<std::byte> v(v_offsets_.back() * size_of(type));
  std::vector<float> scale(static_cast<std::size_t>(scales_));
  std::vector<index_t> next_v = v_offsets_;  // where the next tile of each tile column goes
  for (index_t i = 0; i < I; ++i) {
    const TileRow tiles = std::move(stored_tiles[i]);  // given back row by row
    for (index_t j = 0; j < J; ++j) {
      const kernels::TileLayout& layout = tiles_[i * J + j];
      const Tile place = grid.tile(tile_rows_.begin + i, tile_cols_.begin + j);
      const Range in_rows = intersect({place.row, place.row + place.height}, rows);
      const Range in_cols = intersect({place.col, place.col + place.width}, cols);
      const StoredTerm& term = tiles[j].terms.front();
      const std::vector<float> left = widened(term.left());
      const std::vector<float> right =
          layout.kind == kernels::Structure::dense ? std::vector<float>() : widened(term.right());
      const TilePart part{term,
                          left,
                          right,
                          {in_rows.begin - place.row, in_rows.end - place.row},
                          {in_cols.begin - place.col, in_cols.end - place.col},
                          place.width};
      if (layout.kind == kernels::Structure::interpolative) {
        copy_coefficients(part, layout, {u.data(), type});
      } else {
        copy_stacked(part, u_offsets_[i] + layout.block - block_offsets_[i], stack_sizes_[i], layout.size,
                     {u.data(), type});
      }
      if (layout.kind == kernels::Structure::dense) continue;
      if (layout.kind == kernels::Structure::low_rank) {
        const std::vector<float> sigma = term.sigma();
        std::copy(sigma.begin(), sigma.end(), scale.begin() + layout.scale);
      }
      for (index_t k = 0; k < layout.size; ++k, next_v[j] += in_cols.size()) {
        Target{v.data(), type}.put(next_v[j], part.v(k), in_cols.size());
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
  marks_ = to_device<D>(marks.data(), std::ssize(marks));
  view_ = {this->rows(), this->cols(), codec_of(type), row_offsets_, col_offsets_, block_offsets_, stack_sizes_,
           tiles_,       u_.data(),    u_offsets_,     v_.data(),    v_offsets_,   scale_.data(),  marks_.data()};
  plan_ = std::make_unique<kernels::FactoredPlan<D>>(view_, marks.data());
  view_.plan = plan_.get();
}

template class FactoredMatrix<Device::cpu>;
template class FactoredMatrix<Device::cuda>;

}  // namespace hack::svd
