#include "svd/weighted_error.hpp"

#include <omp.h>

#include <algorithm>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/error.hpp"
#include "svd/linear_algebra.hpp"

namespace hack::svd {
namespace {

constexpr index_t block_rows = 64;

/// Sums over blocks of rows; fill(i, to) writes rows i … of X into `to`.
template <class Fill>
double sum_over_rows(Queue<Device::cpu>& queue, index_t m, MatrixView<const double> h, const Fill& fill) {
  const index_t n = h.cols;
  std::vector<double> sums(static_cast<std::size_t>((m + block_rows - 1) / block_rows));
  std::vector<Buffer<double>> spaces;  // per thread: X (b, n), X H (b, n)
  for (int t = 0; t < queue.threads(); ++t) spaces.emplace_back(2 * block_rows * n);
  hold_blas_to_one_thread();
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (std::size_t b = 0; b < sums.size(); ++b) {
    const index_t first = static_cast<index_t>(b) * block_rows;
    double* space = spaces[static_cast<std::size_t>(omp_get_thread_num())].data();
    const MatrixView<double> x(space, std::min(block_rows, m - first), n);
    const MatrixView<double> xh(space + block_rows * n, x.rows, n);
    fill(first, x);
    multiply(1, x, Transpose::no, h, Transpose::no, 0, xh);
    for (index_t i = 0; i < x.rows; ++i) {
      for (index_t j = 0; j < n; ++j) sums[b] += x(i, j) * xh(i, j);
    }
  }
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

double weighted_energy(Queue<Device::cpu>& queue, MatrixView<const float> x, MatrixView<const double> h) {
  HACK_EXPECT(h.rows == x.cols && h.cols == x.cols);
  return sum_over_rows(queue, x.rows, h,
                       [&](index_t first, MatrixView<double> to) { copy(x.rows_from(first, to.rows), to); });
}

double weighted_error(Queue<Device::cpu>& queue, MatrixView<const float> w, MatrixView<const float> approximation,
                      MatrixView<const double> h) {
  HACK_EXPECT(h.rows == w.cols && h.cols == w.cols);
  HACK_EXPECT(approximation.rows == w.rows && approximation.cols == w.cols);
  return sum_over_rows(queue, w.rows, h, [&](index_t first, MatrixView<double> to) {
    for (index_t i = 0; i < to.rows; ++i) {
      for (index_t j = 0; j < to.cols; ++j)
        to(i, j) = static_cast<double>(w(first + i, j)) - approximation(first + i, j);
    }
  });
}

}  // namespace hack::svd
