#include "svd/fit/whitening.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/error.hpp"
#include "kernels/cpu/factorize/linear_algebra.hpp"

namespace hack::svd {
namespace {

bool is_finite(MatrixView<const double> x, int threads) {
  bool finite = true;
#pragma omp parallel for reduction(&& : finite) num_threads(threads)
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) finite = finite && std::isfinite(x(i, j));
  }
  return finite;
}

/// Copies a block of H and adds `damping` to its diagonal.
void copy_damped(MatrixView<const double> block, double damping, MatrixView<double> to) {
  kernels::copy(block, to);
  for (index_t i = 0; i < to.rows; ++i) to(i, i) += damping;
}

double mean_of_diagonal(MatrixView<const double> h) {
  double mean = 0;
  for (index_t i = 0; i < h.rows; ++i) mean += h(i, i) / static_cast<double>(h.rows);
  return mean;
}

/// d
double damping_of(double mean, double damping) { return mean > 0 ? damping * mean : 1.0; }

void clear_upper_triangle(MatrixView<double> a) {
  for (index_t i = 0; i < a.rows; ++i) std::fill(a.row(i) + i + 1, a.row(i) + a.cols, 0.0);
}

}  // namespace

Whitening::Whitening(Queue<Device::cpu>& queue, MatrixView<const double> h, const TileGrid& grid, double damping)
    : h_(h) {
  HACK_EXPECT(h.rows == grid.cols() && h.cols == grid.cols());
  validate(damping >= 0 && std::isfinite(damping), "damping {} is impossible; use a number of at least 0", damping);
  validate(is_finite(h, queue.threads()), "calibration statistics hold NaN or infinity; calibrate again");
  const double mean = mean_of_diagonal(h);
  validate(mean >= 0,
           "calibration statistics have a diagonal of mean {} (sums of squares are never negative); "
           "calibrate again",
           mean);

  for (index_t j = 0; j < grid.tile_cols(); ++j) {
    const Tile tile = grid.tile(0, j);
    columns_.push_back({tile.col, tile.width, damping_of(mean, damping), Buffer<double>(tile.width * tile.width),
                        Buffer<double>(tile.width * tile.width)});
  }
  kernels::hold_blas_to_one_thread();
  std::vector<std::uint8_t> is_factorized(columns_.size());
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t j = 0; j < columns_.size(); ++j) is_factorized[j] = factorize(columns_[j], mean);
  for (std::size_t j = 0; j < columns_.size(); ++j) {
    validate(is_factorized[j] != 0,
             "calibration statistics of inputs {} to {} cannot be factorized (they are not "
             "positive semidefinite); calibrate again or raise the damping",
             columns_[j].first, columns_[j].first + columns_[j].width - 1);
  }
}

bool Whitening::factorize(Column& column, double mean) const {
  const index_t w = column.width;
  const MatrixView<const double> block = h_.block(column.first, column.first, w, w);
  const MatrixView<double> root(column.root.data(), w, w);
  const MatrixView<double> inverse(column.inverse.data(), w, w);
  copy_damped(block, column.damping, root);
  if (!kernels::cholesky(root)) {
    // A shift that leaves the lowest eigenvalue at 1e-10 of the mean: far above rounding, far below what text weighs.
    copy_damped(block, column.damping, root);
    const std::span<double> lambda(inverse.data, static_cast<std::size_t>(w));
    if (!kernels::eigenvalues(root, lambda)) return false;
    column.damping += std::max(0.0, -lambda.front()) + 1e-10 * mean;
    copy_damped(block, column.damping, root);
    if (!kernels::cholesky(root)) return false;
  }
  clear_upper_triangle(root);
  kernels::invert_cholesky(root, inverse);
  return true;
}

MatrixView<const double> Whitening::root(index_t j) const {
  return {column(j).root.data(), column(j).width, column(j).width};
}

MatrixView<const double> Whitening::inverse(index_t j) const {
  return {column(j).inverse.data(), column(j).width, column(j).width};
}

std::vector<double> damped_diagonal(MatrixView<const double> h, double damping) {
  const double d = damping_of(mean_of_diagonal(h), damping);
  std::vector<double> out;
  for (index_t i = 0; i < h.rows; ++i) out.push_back(std::max(h(i, i), 0.0) + d);
  return out;
}

}  // namespace hack::svd
