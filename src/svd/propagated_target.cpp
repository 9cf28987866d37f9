#include "svd/propagated_target.hpp"

#include <omp.h>

#include <algorithm>
#include <vector>

#include "kernels/error.hpp"
#include "svd/linear_algebra.hpp"

namespace hack::svd {
namespace {

constexpr index_t block_rows = 64;

void scaled_copy(double factor, MatrixView<const double> from, MatrixView<double> to) {
  for (index_t i = 0; i < from.rows; ++i) {
    for (index_t j = 0; j < from.cols; ++j) to(i, j) = factor * from(i, j);
  }
}

}  // namespace

PropagatedTarget::PropagatedTarget(const InputStatistics& statistics, double damping, double share)
    : statistics_(statistics), share_(share), root_(statistics.h().rows * statistics.h().rows) {
  HACK_EXPECT(statistics.kind() != Cross::none);
  const MatrixView<const double> h = statistics.h();
  const index_t n = h.rows;
  const MatrixView<double> root(root_.data(), n, n);
  double mean = 0;
  for (index_t i = 0; i < n; ++i) mean += h(i, i) / static_cast<double>(n);
  if (mean == 0) mean = 1;  // no input was ever anything but zero
  hold_blas_to_one_thread();
  for (const double factor : {1.0, 10.0, 100.0}) {
    copy(h, root);
    for (index_t i = 0; i < n; ++i) root(i, i) += factor * std::max(damping, 1e-6) * mean;
    if (cholesky(root)) return;
  }
  fail("the statistics of {} inputs are not positive semidefinite; calibrate with more text or raise the damping", n);
}

void PropagatedTarget::apply(Queue<Device::cpu>& queue, MatrixView<const float> w, index_t first_row,
                             MatrixView<float> target) const {
  const MatrixView<const double> h = statistics_.h();
  const index_t n = h.rows;
  HACK_EXPECT(w.cols == n && target.rows == w.rows && target.cols == n);
  const MatrixView<const double> root(root_.data(), n, n);
  const MatrixView<const double> cross = statistics_.cross();
  std::vector<Buffer<double>> spaces;  // (threads) rows of W, rows of the correction
  for (int t = 0; t < queue.threads(); ++t) spaces.emplace_back(2 * block_rows * n);
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (index_t first = 0; first < w.rows; first += block_rows) {
    const index_t rows = std::min(block_rows, w.rows - first);
    double* space = spaces[static_cast<std::size_t>(omp_get_thread_num())].data();
    const MatrixView<double> wide(space, rows, n);
    const MatrixView<double> correction(space + block_rows * n, rows, n);
    copy(w.rows_from(first, rows), wide);
    if (statistics_.kind() == Cross::inputs) {
      multiply(share_, wide, Transpose::no, cross, Transpose::no, 0, correction);
    } else {
      scaled_copy(share_, cross.rows_from(first_row + first, rows), correction);
    }
    multiply(-share_, wide, Transpose::no, h, Transpose::no, 1, correction);
    solve_cholesky(root, correction);
    for (index_t i = 0; i < rows; ++i) {
      for (index_t j = 0; j < n; ++j) target(first + i, j) = static_cast<float>(wide(i, j) + correction(i, j));
    }
  }
}

}  // namespace hack::svd
