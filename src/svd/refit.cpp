#include "svd/refit.hpp"

#include "svd/linear_algebra.hpp"

namespace hack::svd {

Refit::Refit(const Whitening& whitening, index_t height, index_t rank_sum, index_t max_rank)
    : whitening_(whitening),
      weighted_(max_rank * whitening.h().cols),
      gram_(rank_sum * rank_sum),
      correction_(height * rank_sum) {}

void Refit::form_system(WeightedTileRow& row) {
  const index_t n = whitening_.h().cols;
  const index_t total = row.rank_sum();
  const MatrixView<double> gram(gram_.data(), total, total);
  const MatrixView<double> correction(correction_.data(), row.height(), total);
  index_t at = 0;
  for (index_t j = 0; j < whitening_.tile_cols(); ++j) {
    const index_t k = row.rank(j);
    if (k == 0) continue;
    const MatrixView<double> right = row.right(j);
    const MatrixView<double> weighted(weighted_.data(), k, n);
    const index_t first = whitening_.first_col(j);
    multiply(1, right, Transpose::no, whitening_.h().rows_from(first, right.cols), Transpose::no, 0, weighted);
    for (index_t p = 0; p < k; ++p) {
      for (index_t c = 0; c < right.cols; ++c) weighted(p, first + c) += whitening_.damping(j) * right(p, c);
    }
    index_t before = 0;
    for (index_t l = 0; l <= j; ++l) {
      if (row.rank(l) == 0) continue;
      multiply(1, weighted.block(0, whitening_.first_col(l), k, whitening_.width(l)), Transpose::no, row.right(l),
               Transpose::yes, 0, gram.block(at, before, k, row.rank(l)));
      before += row.rank(l);
    }
    multiply(1, row.error(), Transpose::no, weighted, Transpose::yes, 0, correction.block(0, at, row.height(), k));
    at += k;
  }
}

bool Refit::apply(WeightedTileRow& row) {
  const index_t total = row.rank_sum();
  if (total == 0) return true;
  const MatrixView<double> gram(gram_.data(), total, total);
  const MatrixView<double> correction(correction_.data(), row.height(), total);
  bool is_solvable = false;
  // 1e-9 does for anything that is positive semidefinite but for rounding; more only makes the correction smaller.
  for (const double relative_damping : {1e-9, 1e-6, 1e-3}) {
    form_system(row);
    double mean = 0;
    for (index_t i = 0; i < total; ++i) mean += gram(i, i) / static_cast<double>(total);
    for (index_t i = 0; i < total; ++i) gram(i, i) += relative_damping * mean;
    is_solvable = cholesky(gram);
    if (is_solvable) break;
  }
  if (!is_solvable) return false;
  solve_cholesky(gram, correction);
  index_t at = 0;
  for (index_t j = 0; j < whitening_.tile_cols(); ++j) {
    const MatrixView<double> left = row.left(j);
    for (index_t i = 0; i < left.rows; ++i) {
      for (index_t p = 0; p < left.cols; ++p) left(i, p) += correction(i, at + p);
    }
    at += left.cols;
  }
  return true;
}

}  // namespace hack::svd
