#include "svd/plane_layout.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/error.hpp"
#include "kernels/row_marks.hpp"

namespace hack::svd {
namespace {

using kernels::Structure;
using kernels::TileLayout;

/// Where rows of numbers go: part of rows that are `length` numbers long.
struct Target {
  Codec codec;
  std::byte* codes;
  std::byte* scales;
  index_t length;
};

/// Copies rows × cols of an array, scales with codes; what has no scales is converted.
void copy_rows(const EncodedArray& from, Range rows, Range cols, const Target& to) {
  const auto bytes_of = [](Codec codec, index_t numbers) { return numbers * spec_of(codec).code_bits / 8; };
  const index_t block = spec_of(from.codec).block, stride = code_bytes(from.codec, from.cols);
  validate(block == 0 || cols.begin % block == 0, "column {} cuts through a block of {} numbers in {}; use fewer ranks",
           cols.begin, block, to_string(from.codec));
  const index_t scales_before = block == 0 ? 0 : cols.begin / block * spec_of(from.codec).scale_bytes;
  for (index_t r = 0; r < rows.size() && cols.size() > 0; ++r) {
    const std::byte* codes = from.codes + (rows.begin + r) * stride + bytes_of(from.codec, cols.begin);
    std::byte* out = to.codes + r * bytes_of(to.codec, to.length);
    if (!has_scales(from.codec)) {
      convert(codes, plain_type(from.codec), out, plain_type(to.codec), cols.size());
      continue;
    }
    const index_t bytes = scale_bytes(from.codec, cols.size());
    std::memcpy(out, codes, static_cast<std::size_t>(code_bytes(from.codec, cols.size())));
    std::memcpy(to.scales + r * scale_bytes(to.codec, to.length),
                from.scales + (rows.begin + r) * scale_bytes(from.codec, from.cols) + scales_before,
                static_cast<std::size_t>(bytes));
  }
}

}  // namespace

PlaneLayout::PlaneLayout(Codec codec_, std::vector<index_t> row_offsets_, std::vector<index_t> col_offsets_,
                         Range rows_, Range cols_)
    : codec(codec_),
      rows(rows_),
      cols(cols_),
      row_offsets(std::move(row_offsets_)),
      col_offsets(std::move(col_offsets_)) {}

index_t PlaneLayout::mark_skeleton(const PlacedTerm& placed, index_t first, index_t height, TileLayout& tile) {
  tile.marks = std::ssize(marks);
  marks.resize(marks.size() + static_cast<std::size_t>(kernels::mark_bytes(height)), 0);
  index_t count = 0;
  for (const index_t row : placed.term->skeleton()) {
    tile.first_skeleton += row < first;
    if (row < first || row >= first + height) continue;
    kernels::mark(marks.data() + tile.marks, row - first);
    ++count;
  }
  return count;
}

void PlaneLayout::begin_row(std::span<const PlacedTerm> terms) {
  const index_t i = std::ssize(stack_sizes), height = row_offsets[i + 1] - row_offsets[i];
  const auto start = static_cast<index_t>(tiles.size());
  index_t block = block_offsets.back();
  for (std::size_t j = 0; j < terms.size(); ++j) {
    TileLayout& tile = tiles.emplace_back();
    if (terms[j].term == nullptr) continue;
    tile.kind = terms[j].term->structure;
    tile.size = tile.kind == Structure::dense ? col_offsets[j + 1] - col_offsets[j] : terms[j].term->rank;
    if (tile.kind == Structure::low_rank) {
      tile.scale = std::ssize(scale);
      scale.resize(scale.size() + static_cast<std::size_t>(tile.size));
    }
    tile.is_stacked = kernels::joins_stack(codec, tile.kind, block - block_offsets.back());
    if (!tile.is_stacked) continue;
    tile.block = block;
    block += tile.size;
  }
  stack_sizes.push_back(block - block_offsets.back());
  index_t left = u_offsets.back() + height * padded_length(codec, stack_sizes.back());
  if (has_scales(codec)) u_scale_offsets.push_back(u_scale_bytes_);
  u_scale_bytes_ += height * scale_bytes(codec, stack_sizes.back());
  for (std::size_t j = 0; j < terms.size(); ++j) {
    TileLayout& tile = tiles[start + static_cast<index_t>(j)];
    if (terms[j].term == nullptr || tile.is_stacked) continue;
    index_t own_rows = height;
    if (tile.kind == Structure::interpolative) {
      own_rows -= mark_skeleton(terms[j], rows.begin + row_offsets[i] - terms[j].row, height, tile);
    }
    tile.block = block;
    block += tile.size;
    tile.left = left;
    tile.left_scales = u_scale_bytes_;
    left += own_rows * padded_length(codec, tile.size);
    u_scale_bytes_ += own_rows * scale_bytes(codec, tile.size);
  }
  block_offsets.push_back(block);
  u_offsets.push_back(left);
}

void PlaneLayout::end_rows() {
  const index_t I = std::ssize(row_offsets) - 1, J = std::ssize(col_offsets) - 1;
  index_t scales = 0;
  if (has_scales(codec)) v_scale_offsets = {0};
  for (index_t j = 0; j < J; ++j) {
    const index_t width = col_offsets[j + 1] - col_offsets[j];
    index_t right_rows = 0;
    for (index_t i = 0; i < I; ++i) {
      const TileLayout& tile = tiles[i * J + j];
      if (tile.kind != Structure::dense) right_rows += tile.size;
    }
    v_offsets.push_back(v_offsets.back() + right_rows * padded_length(codec, width));
    scales += right_rows * scale_bytes(codec, width);
    if (has_scales(codec)) v_scale_offsets.push_back(scales);
  }
  const auto bytes_of = [&](index_t numbers) { return numbers * spec_of(codec).code_bits / 8; };
  u = Buffer<std::byte>(bytes_of(u_offsets.back()));
  v = Buffer<std::byte>(bytes_of(v_offsets.back()));
  u_scales = Buffer<std::byte>(u_scale_bytes_);
  v_scales = Buffer<std::byte>(scales);
  next_v_ = v_offsets;
  next_v_scales_ = v_scale_offsets;
}

void PlaneLayout::copy_left(const PlacedTerm& placed, index_t i, const TileLayout& tile) {
  const StoredTerm& term = *placed.term;
  const Range in_block = intersect({placed.row, placed.row + term.height}, rows);
  Range own{in_block.begin - placed.row, in_block.end - placed.row};
  Range across{0, term.rank};
  if (tile.kind == Structure::dense) {
    const Range in_cols = intersect({placed.col, placed.col + term.width}, cols);
    across = {in_cols.begin - placed.col, in_cols.end - placed.col};
  }
  if (tile.kind == Structure::interpolative) {
    const std::vector<index_t> skeleton = term.skeleton();
    const auto skeleton_before = [&](index_t row) {
      return std::lower_bound(skeleton.begin(), skeleton.end(), row) - skeleton.begin();
    };
    own = {own.begin - skeleton_before(own.begin), own.end - skeleton_before(own.end)};
  }
  index_t at = tile.left, scales = tile.left_scales, length = tile.size;
  if (tile.is_stacked) {
    const index_t before = tile.block - block_offsets[i];  // whole blocks
    at = u_offsets[i] + before;
    scales = has_scales(codec) ? u_scale_offsets[i] + scale_bytes(codec, before) : 0;
    length = stack_sizes[i];
  }
  copy_rows(
      term.left(), own, across,
      {codec, u.data() + at * spec_of(codec).code_bits / 8, u_scales.data() + scales, padded_length(codec, length)});
}

void PlaneLayout::copy_right(const PlacedTerm& placed, index_t j, const TileLayout& tile) {
  const StoredTerm& term = *placed.term;
  const Range in_cols = intersect({placed.col, placed.col + term.width}, cols);
  const index_t length = padded_length(codec, in_cols.size());
  const bool scaled = has_scales(codec);
  copy_rows(term.right(), {0, term.rank}, {in_cols.begin - placed.col, in_cols.end - placed.col},
            {codec, v.data() + next_v_[j] * spec_of(codec).code_bits / 8,
             scaled ? v_scales.data() + next_v_scales_[j] : nullptr, length});
  next_v_[j] += tile.size * length;
  if (scaled) next_v_scales_[j] += tile.size * scale_bytes(codec, in_cols.size());
}

void PlaneLayout::copy_row(index_t i, std::span<const PlacedTerm> terms) {
  for (std::size_t j = 0; j < terms.size(); ++j) {
    const TileLayout& tile = tiles[i * std::ssize(terms) + static_cast<index_t>(j)];
    if (terms[j].term == nullptr || tile.size == 0) continue;
    copy_left(terms[j], i, tile);
    if (tile.kind == Structure::dense) continue;
    copy_right(terms[j], static_cast<index_t>(j), tile);
    if (tile.kind != Structure::low_rank) continue;
    const std::vector<float> sigma = terms[j].term->sigma();
    std::copy(sigma.begin(), sigma.end(), scale.begin() + tile.scale);
  }
}

}  // namespace hack::svd
