#include "svd/quantize/column_feedback.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/cpu/factorize/linear_algebra.hpp"
#include "kernels/error.hpp"

namespace hack::svd {
namespace {

/// Columns whose errors reach those behind them one by one; all others get them by one product.
constexpr index_t panel = 128;

/// Copies H + d I in this order of columns, the lower triangle alone.
void copy_ordered(MatrixView<const double> h, const std::vector<index_t>& order, double d, MatrixView<double> to) {
  for (index_t i = 0; i < to.rows; ++i) {
    const double* from = h.row(order[static_cast<std::size_t>(i)]);
    for (index_t j = 0; j <= i; ++j) to(i, j) = from[order[static_cast<std::size_t>(j)]];
    to(i, i) += d;
  }
}

/// Replaces L by L diag(L)⁻¹.
void divide_by_diagonal(MatrixView<double> l) {
  std::vector<double> inverse;
  for (index_t i = 0; i < l.rows; ++i) inverse.push_back(1 / l(i, i));
  for (index_t i = 0; i < l.rows; ++i) {
    for (index_t j = 0; j <= i; ++j) l(i, j) *= inverse[static_cast<std::size_t>(j)];
  }
}

}  // namespace

double damping_of(MatrixView<const double> h, double damping) {
  double mean = 0;
  for (index_t i = 0; i < h.rows; ++i) mean += h(i, i) / static_cast<double>(h.rows);
  return mean > 0 ? damping * mean : 1.0;
}

ColumnFeedback::ColumnFeedback(MatrixView<const double> h, double damping)
    : order_(static_cast<std::size_t>(h.rows)), factors_(h.rows * h.rows) {
  HACK_EXPECT(h.rows == h.cols);
  for (index_t i = 0; i < h.rows; ++i) {
    validate(std::isfinite(h(i, i)), "calibration statistics hold NaN or infinity; calibrate again");
  }
  std::iota(order_.rbegin(), order_.rend(), index_t{0});
  std::stable_sort(order_.begin(), order_.end(), [&](index_t a, index_t b) { return h(a, a) < h(b, b); });
  const MatrixView<double> l(factors_.data(), h.rows, h.rows);
  for (const double factor : {1.0, 10.0, 100.0}) {
    copy_ordered(h, order_, damping_of(h, factor * std::max(damping, 1e-6)), l);
    if (!kernels::cholesky(l)) continue;
    divide_by_diagonal(l);
    return;
  }
  fail("the statistics of {} inputs are not positive semidefinite; calibrate with more text or raise the damping",
       h.rows);
}

MatrixView<const double> ColumnFeedback::factors() const {
  const auto n = std::ssize(order_);
  return {factors_.data(), n, n};
}

void ColumnFeedback::sweep(const BlockGrid& grid, const std::vector<std::size_t>& block_of, const RowChunk& chunk,
                           double* space) const {
  const index_t m = chunk.values.rows, n = chunk.values.cols;
  const std::size_t blocks = block_of.back() + 1;
  // Both in the order of A.
  const MatrixView<double> targets(space, m, n), errors(space + m * n, m, n);
  const MatrixView<const double> a = factors();
  for (index_t r = 0; r < m; ++r) {
    for (index_t i = 0; i < n; ++i) targets(r, i) = chunk.values(r, order_[static_cast<std::size_t>(i)]);
  }
  for (index_t end = n; end > 0; end -= std::min(panel, end)) {
    const index_t begin = std::max<index_t>(end - panel, 0);
    for (index_t r = 0; r < m; ++r) {
      for (index_t i = end; i-- > begin;) {
        const index_t c = order_[static_cast<std::size_t>(i)];
        const BlockScale& scale =
            chunk.scales[static_cast<std::size_t>(r) * blocks + block_of[static_cast<std::size_t>(c)]];
        const int code = grid.code_of(targets(r, i), scale);
        const double error = chunk.values(r, c) - grid.value_of(code, scale);
        chunk.codes[r * n + c] = static_cast<std::uint8_t>(code);
        chunk.errors(r, c) = errors(r, i) = error;
        for (index_t k = begin; k < i; ++k) targets(r, k) += error * a(i, k);
      }
    }
    if (begin == 0) break;
    kernels::multiply(1, errors.block(0, begin, m, end - begin), kernels::Transpose::no,
                      a.block(begin, 0, end - begin, begin), kernels::Transpose::no, 1, targets.block(0, 0, m, begin));
  }
}

}  // namespace hack::svd
