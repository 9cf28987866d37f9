#include "svd/quantize/row_quantizer.hpp"

#include <algorithm>
#include <cmath>

#include <omp.h>

#include "kernels/cpu/factorize/linear_algebra.hpp"
#include "kernels/error.hpp"
#include "svd/fit/whitening.hpp"

namespace hack::svd {
namespace {

/// Rows that share the products with H. They are cut within rows of tiles, so that a chunk is the same on any rank.
constexpr index_t chunk_rows = 64;

void check_finite(const TileGrid& grid, const TileRows& rows) {
  for (index_t r = 0; r < rows.values.rows; ++r) {
    for (index_t c = 0; c < rows.values.cols; ++c) {
      validate(std::isfinite(rows.values(r, c)),
               "tensor {}, tile ({}, {}) cannot be quantized (it holds NaN or infinity); check the checkpoint",
               rows.name, rows.range.begin + r / grid.tile_height(), c / grid.tile_width());
    }
  }
}

}  // namespace

/// What a thread works with.
struct RowQuantizer::Space {
  Buffer<double> sweep;   // (2, rows, n)
  Buffer<double> errors;  // (rows, n)
  std::vector<double> block;
  CodeDescent::Space descent;
};

RowQuantizer::RowQuantizer(MatrixView<const double> h, const TileGrid& grid, const BlockGrid& numbers,
                           const QuantizeOptions& options)
    : n_(h.rows),
      numbers_(numbers),
      options_(options),
      blocks_(blocks_of_row(grid, numbers.block())),
      weights_(damped_diagonal(h, options.damping)),
      feedback_(h, options.damping),
      descent_(h, damping_of(h, options.damping), numbers, blocks_) {
  HACK_EXPECT(h.rows == grid.cols());
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    block_of_.insert(block_of_.end(), static_cast<std::size_t>(blocks_[b].size()), b);
  }
}

const BlockScale& RowQuantizer::scale_of(const BlockScale* scales, index_t r, index_t c) const {
  return scales[static_cast<std::size_t>(r) * blocks_.size() + block_of_[static_cast<std::size_t>(c)]];
}

void RowQuantizer::find_scales(const RowChunk& chunk, Space& space) const {
  BlockScale* next = chunk.scales;
  for (index_t r = 0; r < chunk.values.rows; ++r) {
    for (const Range& block : blocks_) {
      std::copy_n(chunk.values.row(r) + block.begin, block.size(), space.block.begin());
      const auto size = static_cast<std::size_t>(block.size());
      *next++ = numbers_.find(std::span(space.block).first(size),
                              std::span(weights_).subspan(static_cast<std::size_t>(block.begin), size));
    }
  }
}

/// Codes nearest to the values.
void RowQuantizer::round(const RowChunk& chunk) const {
  for (index_t r = 0; r < chunk.values.rows; ++r) {
    for (index_t c = 0; c < n_; ++c) {
      const BlockScale& scale = scale_of(chunk.scales, r, c);
      const int code = numbers_.code_of(chunk.values(r, c), scale);
      chunk.codes[r * n_ + c] = static_cast<std::uint8_t>(code);
      chunk.errors(r, c) = chunk.values(r, c) - numbers_.value_of(code, scale);
    }
  }
}

QuantizedRows RowQuantizer::quantize(Queue<Device::cpu>& queue, const TileGrid& grid, const TileRows& rows) const {
  HACK_EXPECT(rows.values.cols == n_ && grid.cols() == n_);
  check_finite(grid, rows);
  const auto numbers = static_cast<std::size_t>(rows.values.rows * n_);
  QuantizedRows out{std::vector<std::uint8_t>(numbers),
                    std::vector<BlockScale>(static_cast<std::size_t>(rows.values.rows) * blocks_.size())};
  std::vector<RowChunk> chunks;
  for (index_t i = rows.range.begin, first = 0; i < rows.range.end; first += grid.tile(i++, 0).height) {
    for (index_t at = 0; at < grid.tile(i, 0).height; at += chunk_rows) {
      const index_t row = first + at;
      chunks.push_back({rows.values.rows_from(row, std::min(chunk_rows, grid.tile(i, 0).height - at)),
                        out.codes.data() + row * n_,
                        out.scales.data() + static_cast<std::size_t>(row) * blocks_.size(),
                        {}});
    }
  }
  // An exception must not leave a parallel region: everything that may fail is allocated before it.
  std::vector<Space> spaces;
  for (int t = 0; t < queue.threads(); ++t) {
    spaces.push_back({Buffer<double>(2 * chunk_rows * n_), Buffer<double>(chunk_rows * n_),
                      std::vector<double>(static_cast<std::size_t>(numbers_.block())), descent_.space(chunk_rows)});
  }
  kernels::hold_blas_to_one_thread();
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (RowChunk& chunk : chunks) {
    Space& space = spaces[static_cast<std::size_t>(omp_get_thread_num())];
    chunk.errors = {space.errors.data(), chunk.values.rows, n_};
    find_scales(chunk, space);
    if (options_.sweep) {
      feedback_.sweep(numbers_, block_of_, chunk, space.sweep.data());
    } else {
      round(chunk);
    }
    descent_.run(chunk, options_.passes, space.descent);
  }
  return out;
}

void RowQuantizer::widen(const QuantizedRows& rows, MatrixView<float> out) const {
  for (index_t r = 0; r < out.rows; ++r) {
    for (index_t c = 0; c < n_; ++c) {
      const BlockScale& scale = scale_of(rows.scales.data(), r, c);
      const auto level = static_cast<float>(numbers_.level(rows.codes[static_cast<std::size_t>(r * n_ + c)]));
      out(r, c) = scale.scale * level + scale.minimum;
    }
  }
}

}  // namespace hack::svd
