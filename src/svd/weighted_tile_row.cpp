#include "svd/weighted_tile_row.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/error.hpp"
#include "svd/linear_algebra.hpp"

namespace hack::svd {
namespace {

/// Rounds x to f32 after scaling it by a power of two to max|x| in [1, 2): singular vectors stay what they are, and
/// neither large nor small statistics leave the range of f32. NaN stays NaN.
void round_scaled(MatrixView<const double> x, MatrixView<float> to) {
  double largest = 0;
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) largest = std::max(largest, std::fabs(x(i, j)));
  }
  const double scale = largest > 0 && std::isfinite(largest) ? std::ldexp(1.0, -std::ilogb(largest)) : 1.0;
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) to(i, j) = static_cast<float>(x(i, j) * scale);
  }
}

}  // namespace

WeightedTileRow::WeightedTileRow(const Whitening& whitening, const TileGrid& grid, index_t i, MatrixView<const float> w,
                                 std::span<const TileChoice> choices)
    : whitening_(whitening), i_(i), w_(w) {
  HACK_EXPECT(w.rows == grid.tile(i, 0).height && w.cols == grid.cols() && std::ssize(choices) == grid.tile_cols());
  HACK_EXPECT(whitening.h().rows == grid.cols() && whitening.tile_cols() == grid.tile_cols());
  error_ = Buffer<double>(w.rows * w.cols);
  std::fill_n(error_.data(), error_.size(), 0.0);
  const bool is_dense = std::all_of(choices.begin(), choices.end(),
                                    [](const TileChoice& choice) { return choice.kind == kernels::TileKind::dense; });
  index_t largest = 0;
  for (index_t j = 0; j < grid.tile_cols(); ++j) {
    const Tile tile = grid.tile(i, j);
    HACK_EXPECT(tile.col == whitening.first_col(j) && tile.width == whitening.width(j));
    const TileChoice& choice = choices[static_cast<std::size_t>(j)];
    const index_t k = choice.rank;
    HACK_EXPECT(k >= 0 && k <= tile.full_rank());
    // Beside tiles of low rank a dense one is free to make up for their errors.
    const bool keeps_values = is_dense && k == tile.full_rank();
    parts_.push_back(keeps_values ? Part{} : Part{k, Buffer<double>(tile.height * k), Buffer<double>(k * tile.width)});
    if (!keeps_values && k == 0) {
      copy(w.block(0, tile.col, tile.height, tile.width), error_of(j));
      error_end_ = tile.col + tile.width;
    }
    largest = std::max(largest, parts_.back().rank);
  }
  const index_t area = w.rows * grid.tile_width();
  const index_t r = std::min(w.rows, grid.tile_width());
  target_ = Buffer<double>(area);
  product_ = Buffer<double>(area);
  whitened_ = Buffer<float>(area);
  u_ = Buffer<float>(w.rows * largest);
  sigma_ = Buffer<float>(r);
  vt_ = Buffer<float>(largest * grid.tile_width());
  triangle_ = Buffer<double>(largest * (largest + 1));
}

index_t WeightedTileRow::rank_sum() const {
  index_t sum = 0;
  for (const Part& part : parts_) sum += part.rank;
  return sum;
}

MatrixView<double> WeightedTileRow::error_of(index_t j) {
  return MatrixView<double>(error_.data(), w_.rows, w_.cols)
      .block(0, whitening_.first_col(j), w_.rows, whitening_.width(j));
}

MatrixView<double> WeightedTileRow::left(index_t j) {
  Part& part = parts_[static_cast<std::size_t>(j)];
  return {part.left.data(), w_.rows, part.rank};
}

MatrixView<double> WeightedTileRow::right(index_t j) {
  Part& part = parts_[static_cast<std::size_t>(j)];
  return {part.right.data(), part.rank, whitening_.width(j)};
}

void WeightedTileRow::form_target(index_t j, bool with_feedback) {
  at_ = j;
  const index_t first = whitening_.first_col(j);
  const index_t width = whitening_.width(j);
  const MatrixView<double> target(target_.data(), w_.rows, width);
  const MatrixView<double> product(product_.data(), w_.rows, width);
  copy(w_.block(0, first, w_.rows, width), target);
  if (with_feedback && error_end_ > 0) {
    const MatrixView<double> own = error_of(j);
    for (index_t i = 0; i < own.rows; ++i) std::fill_n(own.row(i), own.cols, 0.0);
    multiply(1, error().block(0, 0, w_.rows, error_end_), Transpose::no,
             whitening_.h().block(0, first, error_end_, width), Transpose::no, 0, product);
    multiply(1, product, Transpose::no, whitening_.inverse(j), Transpose::no, 1, target);
  }
  copy(MatrixView<const double>(target), product);
  multiply_triangular(product, whitening_.root(j), Transpose::no);
  round_scaled(product, {whitened_.data(), w_.rows, width});
}

MatrixView<const float> WeightedTileRow::target() const { return {whitened_.data(), w_.rows, whitening_.width(at_)}; }

kernels::TileSvd<Device::cpu> WeightedTileRow::target_svd() {
  const index_t width = whitening_.width(at_);
  const index_t k = rank(at_);
  return {{u_.data(), w_.rows, k}, sigma_.data(), {vt_.data(), k, width}, kernels::SvdStatus::ok};
}

void WeightedTileRow::truncate(index_t j) {
  const MatrixView<const double> target(target_.data(), w_.rows, whitening_.width(j));
  copy(MatrixView<const float>(target_svd().u), left(j));
  multiply(1, left(j), Transpose::yes, target, Transpose::no, 0, right(j));
  measure_error(j);
}

void WeightedTileRow::assign(index_t j, MatrixView<const float> u, const float* sigma, MatrixView<const float> vt) {
  const MatrixView<double> scaled = left(j);
  copy(u, scaled);
  copy(vt, right(j));
  for (index_t i = 0; i < u.rows; ++i) {
    for (index_t p = 0; p < u.cols; ++p) scaled(i, p) *= sigma[p];
  }
  measure_error(j);
}

void WeightedTileRow::measure_error(index_t j) {
  const MatrixView<double> error = error_of(j);
  copy(w_.block(0, whitening_.first_col(j), error.rows, error.cols), error);
  multiply(-1, left(j), Transpose::no, right(j), Transpose::no, 1, error);
  error_end_ = std::max(error_end_, whitening_.first_col(j) + error.cols);
}

bool WeightedTileRow::orthonormalize() {
  for (index_t j = 0; j < std::ssize(parts_); ++j) {
    const index_t k = rank(j);
    if (k == 0) continue;
    const MatrixView<double> triangle(triangle_.data(), k, k);
    const std::span<double> tau(triangle_.data() + k * k, static_cast<std::size_t>(k));
    if (!orthonormalize_rows(right(j), triangle, tau)) return false;
    multiply_triangular(left(j), triangle, Transpose::no);
  }
  return true;
}

}  // namespace hack::svd
