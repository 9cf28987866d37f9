#include "svd/factored_matrix.hpp"

#include <algorithm>
#include <utility>

#include "kernels/device_view.hpp"

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

using TileRow = std::vector<StoredTile>;
using PlacedRow = std::vector<PlacedTerm>;  // (J)

/// Builds the planes of a block.
class PlaneBuilder {
 public:
  PlaneBuilder(const FactorSource& source, const std::string& name, Range rows, Range cols, std::optional<DType> type)
      : source_(source), name_(name), rows_(rows), cols_(cols), type_(type), grid_(source.matrix(name).grid) {
    HACK_EXPECT(0 <= rows.begin && rows.begin <= rows.end && rows.end <= grid_.rows());
    HACK_EXPECT(0 <= cols.begin && cols.begin <= cols.end && cols.end <= grid_.cols());
    tile_rows_ = tiles_that_meet(grid_.row_offsets(), rows);
    tile_cols_ = tiles_that_meet(grid_.col_offsets(), cols);
  }

  std::vector<PlaneLayout> build() {
    read();
    for (const TileRow& row : stored_) count_planes(row);
    if (planes_.empty()) add_plane(codec_of(type_.value_or(DType::bf16)));  // of nothing but zeros
    for (const TileRow& row : stored_) {
      const std::vector<PlacedRow> placed = place(row);
      for (std::size_t p = 0; p < planes_.size(); ++p) planes_[p].begin_row(placed[p]);
      ++row_;
    }
    for (PlaneLayout& plane : planes_) plane.end_rows();
    row_ = 0;
    for (TileRow& stored : stored_) {
      const TileRow row = std::move(stored);  // given back row by row
      const std::vector<PlacedRow> placed = place(row);
      for (std::size_t p = 0; p < planes_.size(); ++p) planes_[p].copy_row(row_, placed[p]);
      ++row_;
    }
    add_whole_terms();
    return std::move(planes_);
  }

 private:
  Codec held_in(const StoredTerm& term) const {
    return has_scales(term.codec) || !type_ ? term.codec : codec_of(*type_);
  }

  void read() {
    for (index_t i = tile_rows_.begin; i < tile_rows_.end; ++i) {
      stored_.push_back(tile_cols_.size() > 0 ? source_.read_tiles(name_, i, tile_cols_.begin, tile_cols_.end)
                                              : TileRow());
    }
  }

  void add_plane(Codec codec) {
    planes_.emplace_back(codec, clipped_offsets(grid_.row_offsets(), tile_rows_, rows_),
                         clipped_offsets(grid_.col_offsets(), tile_cols_, cols_), rows_, cols_);
  }

  /// The plane of a tile's next term: the first in the term's codec that has none of the tile's.
  std::size_t plane_of(const StoredTerm& term, const std::vector<bool>& taken) const {
    std::size_t p = 0;
    while (p < planes_.size() && (taken[p] || planes_[p].codec != held_in(term))) ++p;
    return p;
  }

  void count_planes(const TileRow& row) {
    for (const StoredTile& tile : row) {
      std::vector<bool> taken(planes_.size());
      for (const StoredTerm& term : tile.terms) {
        const std::size_t p = plane_of(term, taken);
        if (p == planes_.size()) {
          add_plane(held_in(term));
          taken.push_back(false);
        }
        taken[p] = true;
      }
    }
  }

  /// The terms of tile row row_, for each plane.
  std::vector<PlacedRow> place(const TileRow& row) const {
    std::vector<PlacedRow> placed(planes_.size(), PlacedRow(row.size()));
    for (std::size_t j = 0; j < row.size(); ++j) {
      const Tile at = grid_.tile(tile_rows_.begin + row_, tile_cols_.begin + static_cast<index_t>(j));
      std::vector<bool> taken(planes_.size());
      for (const StoredTerm& term : row[j].terms) {
        const std::size_t p = plane_of(term, taken);
        taken[p] = true;
        placed[p][j] = {&term, at.row, at.col};
      }
    }
    return placed;
  }

  /// A term of the whole matrix is a plane of one tile.
  void add_whole_terms() {
    if (rows_.size() == 0 || cols_.size() == 0) return;
    for (const StoredTerm& term : source_.read_whole_terms(name_)) {
      PlaneLayout plane(held_in(term), {0, rows_.size()}, {0, cols_.size()}, rows_, cols_);
      const PlacedTerm placed{&term, 0, 0};
      plane.begin_row({&placed, 1});
      plane.end_rows();
      plane.copy_row(0, {&placed, 1});
      planes_.push_back(std::move(plane));
    }
  }

  const FactorSource& source_;
  const std::string& name_;
  Range rows_, cols_;
  std::optional<DType> type_;
  const TileGrid& grid_;
  Range tile_rows_, tile_cols_;  // of the matrix, that meet the block
  std::vector<TileRow> stored_;  // (I) of (J)
  std::vector<PlaneLayout> planes_;
  index_t row_ = 0;  // the tile row at work, of those that meet the block
};

}  // namespace

template <Device D>
FactoredPlane<D>::FactoredPlane(PlaneLayout layout)
    : row_offsets_(std::move(layout.row_offsets)),
      col_offsets_(std::move(layout.col_offsets)),
      block_offsets_(std::move(layout.block_offsets)),
      stack_sizes_(std::move(layout.stack_sizes)),
      u_offsets_(std::move(layout.u_offsets)),
      v_offsets_(std::move(layout.v_offsets)),
      v_scale_offsets_(std::move(layout.v_scale_offsets)),
      u_scale_offsets_(std::move(layout.u_scale_offsets)),
      tiles_(std::move(layout.tiles)),
      u_(to_device<D>(std::move(layout.u))),
      v_(to_device<D>(std::move(layout.v))),
      u_scales_(to_device<D>(std::move(layout.u_scales))),
      v_scales_(to_device<D>(std::move(layout.v_scales))),
      scale_(to_device<D>(layout.scale.data(), std::ssize(layout.scale))),
      marks_(to_device<D>(layout.marks.data(), std::ssize(layout.marks))),
      view_{.rows = layout.rows.size(),
            .cols = layout.cols.size(),
            .codec = layout.codec,
            .row_offsets = row_offsets_,
            .col_offsets = col_offsets_,
            .block_offsets = block_offsets_,
            .stack_sizes = stack_sizes_,
            .tiles = tiles_,
            .u = u_.data(),
            .u_offsets = u_offsets_,
            .v = v_.data(),
            .v_offsets = v_offsets_,
            .scale = scale_.data(),
            .marks = marks_.data(),
            .u_scales = u_scales_.data(),
            .v_scales = v_scales_.data(),
            .v_scale_offsets = v_scale_offsets_,
            .u_scale_offsets = u_scale_offsets_} {
  plan_ = std::make_unique<kernels::FactoredPlan<D>>(view_, layout.marks.data());
  view_.plan = plan_.get();
}

template <Device D>
index_t FactoredPlane<D>::bytes() const {
  return u_.bytes() + v_.bytes() + u_scales_.bytes() + v_scales_.bytes() + scale_.bytes() + marks_.bytes();
}

template <Device D>
FactoredMatrix<D>::FactoredMatrix(const FactorSource& source, const std::string& name, Range rows, Range cols,
                                  std::optional<DType> type) {
  for (PlaneLayout& layout : PlaneBuilder(source, name, rows, cols, type).build()) {
    planes_.emplace_back(std::move(layout));
    views_.push_back(planes_.back().view());
  }
}

template <Device D>
index_t FactoredMatrix<D>::bytes() const {
  index_t bytes = 0;
  for (const FactoredPlane<D>& plane : planes_) bytes += plane.bytes();
  return bytes;
}

template class FactoredPlane<Device::cpu>;
template class FactoredPlane<Device::cuda>;
template class FactoredMatrix<Device::cpu>;
template class FactoredMatrix<Device::cuda>;

}  // namespace hack::svd
