#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/factored_linear.hpp"
#include "kernels/row_marks.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::tests {

using kernels::FactoredView;
using kernels::Structure;
using kernels::TileLayout;

/// What a tile of a random matrix is.
struct Form {
  Structure kind = Structure::low_rank;
  index_t rank = 0;
};
inline constexpr Form dense{Structure::dense, 0};
inline constexpr Form factors(index_t rank) { return {Structure::low_rank, rank}; }
inline constexpr Form interpolative(index_t rank) { return {Structure::interpolative, rank}; }

/// Tiles of all kinds side by side, of ranks below 30.
inline Form every_form(index_t i, index_t j) {
  const index_t rank = (7 * i + 5 * j) % 30;
  return (i + j) % 3 == 0 ? dense : (i + j) % 3 == 1 ? factors(rank) : interpolative(rank);
}

/// A matrix of random tiles in any form, and what owns its memory.
struct RandomFactors {
  std::vector<index_t> row_offsets{0}, col_offsets{0}, block_offsets{0}, stack_sizes, u_offsets{0}, v_offsets{0};
  std::vector<TileLayout> tiles;
  std::vector<index_t> v_starts;  // (I * J) of each tile's rows of V
  std::vector<float> u, v, scale;
  std::vector<std::uint8_t> marks;
  std::vector<std::byte> u_bytes, v_bytes, u_scales, v_scales;
  std::vector<index_t> v_scale_offsets{0}, u_scale_offsets;
  Codec codec = Codec::f32;
  std::vector<float> matrix;  // (rows, cols): Σ U s Vᵀ, in f32 of f64 sums
  std::vector<float> sizes;   // (rows, cols): Σ |U| s |Vᵀ|
  FactoredView<Device::cpu> view;

  /// `form_of(i, j)` says what tile (i, j) is. Of interpolative tiles the view has about as large a part of the
  /// skeleton rows as of their rows; the others lie above and below.
  template <class F>
  RandomFactors(index_t rows, index_t cols, index_t tile, DType type, F form_of, unsigned seed = 1)
      : RandomFactors(rows, cols, tile, codec_of(type), form_of, seed) {}
  template <class F>
  RandomFactors(index_t rows, index_t cols, index_t tile, Codec codec_, F form_of, unsigned seed = 1) : codec(codec_) {
    for (index_t i = tile; i < rows + tile && rows > 0; i += tile) row_offsets.push_back(std::min(i, rows));
    for (index_t j = tile; j < cols + tile && cols > 0; j += tile) col_offsets.push_back(std::min(j, cols));
    const index_t tile_rows = std::ssize(row_offsets) - 1, tile_cols = std::ssize(col_offsets) - 1;
    tiles.resize(static_cast<std::size_t>(tile_rows * tile_cols));
    v_starts.resize(tiles.size());
    for (index_t i = 0; i < tile_rows; ++i) {
      for (index_t j = 0; j < tile_cols; ++j) {
        const Form form = form_of(i, j);
        TileLayout& layout = tiles[i * tile_cols + j];
        layout.kind = form.kind;
        layout.size = form.kind == Structure::dense ? col_offsets[j + 1] - col_offsets[j] : form.rank;
      }
      lay_out_row(i, tile_cols);
    }
    for (index_t j = 0; j < tile_cols; ++j) {
      const index_t width = col_offsets[j + 1] - col_offsets[j];
      index_t count = 0;
      for (index_t i = 0; i < tile_rows; ++i) {
        v_starts[i * tile_cols + j] = v_offsets.back() + count * padded_length(codec, width);
        const TileLayout& layout = tiles[i * tile_cols + j];
        if (layout.kind != Structure::dense) count += layout.size;
      }
      append(count, width, seed + 1 + 100 * static_cast<unsigned>(j), v, v_bytes, v_scales);
      v_offsets.push_back(v_offsets.back() + count * padded_length(codec, width));
      v_scale_offsets.push_back(std::ssize(v_scales));
    }
    for (float& s : scale = random_floats(std::ssize(scale), seed + 2)) s = std::fabs(s);
    view = {rows,         cols,         codec,           row_offsets,     col_offsets,     block_offsets,
            stack_sizes,  tiles,        u_bytes.data(),  u_offsets,       v_bytes.data(),  v_offsets,
            scale.data(), marks.data(), u_scales.data(), v_scales.data(), v_scale_offsets, u_scale_offsets};
    rebuild();
  }

  void lay_out_row(index_t i, index_t tile_cols) {
    const index_t height = row_offsets[i + 1] - row_offsets[i];
    index_t block = block_offsets.back();
    for (index_t j = 0; j < tile_cols; ++j) {
      TileLayout& layout = tiles[i * tile_cols + j];
      layout.scale = std::ssize(scale);
      if (layout.kind == Structure::low_rank) scale.resize(scale.size() + static_cast<std::size_t>(layout.size));
      layout.is_stacked = kernels::joins_stack(codec, layout.kind, block - block_offsets.back());
      if (!layout.is_stacked) continue;
      layout.block = block;
      block += layout.size;
    }
    stack_sizes.push_back(block - block_offsets.back());
    u_scale_offsets.push_back(std::ssize(u_scales));
    append(height, stack_sizes.back(), 7 + static_cast<unsigned>(i), u, u_bytes, u_scales);
    for (index_t j = 0; j < tile_cols; ++j) {
      TileLayout& layout = tiles[i * tile_cols + j];
      if (layout.is_stacked) continue;
      layout.block = block;
      block += layout.size;
      layout.left = std::ssize(u);
      layout.left_scales = std::ssize(u_scales);
      const unsigned seed = 1000 + 50 * static_cast<unsigned>(i) + static_cast<unsigned>(j);
      if (layout.kind != Structure::interpolative) {
        append(height, layout.size, seed, u, u_bytes, u_scales);
        continue;
      }
      layout.marks = std::ssize(marks);
      marks.resize(marks.size() + static_cast<std::size_t>(kernels::mark_bytes(height)), 0);
      index_t skeleton = 0;
      for (index_t r = 0; r < height; ++r) {
        if (skeleton == layout.size || (r * 7 + j * 5 + i) % 11 >= 6) continue;
        kernels::mark(marks.data() + layout.marks, r);
        ++skeleton;
      }
      layout.first_skeleton = (layout.size - skeleton + 1) / 2;
      append(height - skeleton, layout.size, seed, u, u_bytes, u_scales);
    }
    block_offsets.push_back(block);
    u_offsets.push_back(std::ssize(u));
  }

  /// Puts random rows behind the others: what they stand for, with zeros up to their padded length, codes and scales.
  void append(index_t rows, index_t cols, unsigned seed, std::vector<float>& values, std::vector<std::byte>& codes,
              std::vector<std::byte>& scales) const {
    const EncodedRows encoded(codec, rows, cols, seed);
    const auto padding = static_cast<std::size_t>(padded_length(codec, cols) - cols);
    for (index_t r = 0; r < rows; ++r) {
      values.insert(values.end(), encoded.values.begin() + r * cols, encoded.values.begin() + (r + 1) * cols);
      values.resize(values.size() + padding);
    }
    codes.insert(codes.end(), encoded.codes.begin(), encoded.codes.end());
    scales.insert(scales.end(), encoded.scales.begin(), encoded.scales.end());
  }

  /// What row `row` of tile (i, j) multiplies the l-th number of z_ij with.
  double left(index_t i, const TileLayout& tile, index_t row, index_t l) const {
    if (tile.is_stacked) {
      return u[u_offsets[i] + row * padded_length(codec, stack_sizes[i]) + tile.block - block_offsets[i] + l];
    }
    const index_t length = padded_length(codec, tile.size);
    if (tile.kind != Structure::interpolative) return u[tile.left + row * length + l];
    const std::uint8_t* tile_marks = marks.data() + tile.marks;
    const index_t above = kernels::count_marks(tile_marks, row);
    if (kernels::is_marked(tile_marks, row)) return l == tile.first_skeleton + above;
    return u[tile.left + (row - above) * length + l];
  }

  void rebuild() {
    matrix.assign(static_cast<std::size_t>(view.rows * view.cols), 0.0f);
    sizes = matrix;
    for (index_t i = 0; i < view.tile_rows(); ++i) {
      for (index_t j = 0; j < view.tile_cols(); ++j) {
        const TileLayout& tile = view.tile(i, j);
        const index_t width = col_offsets[j + 1] - col_offsets[j];
        const index_t length = padded_length(codec, width);
        std::vector<double> sum(width), size(width);
        for (index_t row = row_offsets[i]; row < row_offsets[i + 1]; ++row) {
          std::fill(sum.begin(), sum.end(), 0.0);
          std::fill(size.begin(), size.end(), 0.0);
          for (index_t l = 0; l < tile.size; ++l) {
            const double factor = left(i, tile, row - row_offsets[i], l) *
                                  (tile.kind == Structure::low_rank ? double{scale[tile.scale + l]} : 1.0);
            for (index_t c = 0; c < width; ++c) {
              const double right =
                  tile.kind == Structure::dense ? l == c : v[v_starts[i * view.tile_cols() + j] + l * length + c];
              sum[c] += factor * right;
              size[c] += std::fabs(factor * right);
            }
          }
          for (index_t c = 0; c < width; ++c) {
            matrix[row * view.cols + col_offsets[j] + c] = static_cast<float>(sum[c]);
            sizes[row * view.cols + col_offsets[j] + c] = static_cast<float>(size[c]);
          }
        }
      }
    }
  }
};

}  // namespace hack::tests
