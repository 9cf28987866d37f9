#include "svd/tile/interpolative_rounder.hpp"

#include <algorithm>

#include "kernels/cpu/factorize/linear_algebra.hpp"

namespace hack::svd {
namespace {

template <class T>
void grow(Buffer<T>& buffer, index_t size) {
  if (buffer.size() < size) buffer = Buffer<T>(size);
}

std::span<double> first(Buffer<double>& buffer, index_t count) {
  return {buffer.data(), static_cast<std::size_t>(count)};
}

void scale_columns(MatrixView<const double> x, std::span<const double> weights, MatrixView<double> out) {
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) out(i, j) = x(i, j) * weights[static_cast<std::size_t>(j)];
  }
}

}  // namespace

void InterpolativeRounder::reserve(index_t h, index_t w, index_t k) {
  grow(rounded_, k * w);
  grow(fitted_, (h - k) * k);
  grow(wide_, k * w);
  grow(weighted_, k * w);
  grow(gram_, k * k);
  grow(cross_, k * k);
  grow(c_, (h - k) * k);
  grow(change_, (h - k) * k);
  grow(costs_, k);
  grow(carried_, k);
}

void InterpolativeRounder::round(MatrixView<const float> skeleton, MatrixView<const float> coefficients,
                                 std::span<const double> weights, const Int8Rows& u, const Int8Rows& v) {
  const index_t k = skeleton.rows, others = coefficients.rows;
  if (k == 0) return;
  round_skeleton(skeleton, coefficients, weights, v);
  if (others == 0) return;
  widen_rows(v.numbers, v.scales, {rounded_.data(), k, skeleton.cols});
  const bool is_fitted = fit(skeleton, coefficients, weights);
  const MatrixView<const float> fitted(fitted_.data(), others, k);
  round_rows(fitted, first(costs_, k), u);
  if (is_fitted) round_together(fitted, Along::rows, {gram_.data(), k, k}, first(carried_, k), u);
}

void InterpolativeRounder::round_skeleton(MatrixView<const float> skeleton, MatrixView<const float> coefficients,
                                          std::span<const double> weights, const Int8Rows& v) {
  const index_t k = skeleton.rows, others = coefficients.rows;
  round_rows(skeleton, weights, v);
  if (others == 0) return;
  const MatrixView<double> gram(gram_.data(), k, k), c(c_.data(), others, k);
  kernels::copy(coefficients, c);
  kernels::multiply(1, c, kernels::Transpose::yes, c, kernels::Transpose::no, 0, gram);
  for (index_t i = 0; i < k; ++i) gram(i, i) += 1;
  if (kernels::cholesky(gram)) round_together(skeleton, Along::columns, gram, first(carried_, k), v);
}

/// Writes C', diag(Q D Qᵀ) and the Cholesky factor of Q D Qᵀ + λ I; C' is C, and false returned, where there is none.
bool InterpolativeRounder::fit(MatrixView<const float> skeleton, MatrixView<const float> coefficients,
                               std::span<const double> weights) {
  const index_t k = skeleton.rows, w = skeleton.cols, others = coefficients.rows;
  const MatrixView<double> q(wide_.data(), k, w), weighted(weighted_.data(), k, w), gram(gram_.data(), k, k),
      cross(cross_.data(), k, k), c(c_.data(), others, k), change(change_.data(), others, k);
  const MatrixView<float> fitted(fitted_.data(), others, k);
  kernels::copy(MatrixView<const float>(rounded_.data(), k, w), q);
  double noise = 0;
  for (index_t i = 0; i < k; ++i) {
    for (index_t j = 0; j < w; ++j) {
      const double error = skeleton(i, j) - q(i, j);
      weighted(i, j) = error * weights[static_cast<std::size_t>(j)];
      noise += weighted(i, j) * error;
    }
  }
  kernels::multiply(1, weighted, kernels::Transpose::no, q, kernels::Transpose::yes, 0, cross);
  scale_columns(q, weights, weighted);
  kernels::multiply(1, weighted, kernels::Transpose::no, q, kernels::Transpose::yes, 0, gram);
  double trace = 0;
  for (index_t i = 0; i < k; ++i) trace += costs_.data()[i] = gram(i, i);
  // Where hardly any skeleton row had to be rounded, the noise may be below what sums in double leave.
  const double ridge = (noise + 1e-12 * trace) / static_cast<double>(k);
  for (index_t i = 0; i < k; ++i) gram(i, i) += ridge;
  kernels::copy(coefficients, c);
  const bool has_root = kernels::cholesky(gram);
  if (has_root) {
    kernels::multiply(1, c, kernels::Transpose::no, cross, kernels::Transpose::no, 0, change);
    kernels::solve_cholesky(gram, change);
    for (index_t i = 0; i < others; ++i) {
      for (index_t l = 0; l < k; ++l) c(i, l) += change(i, l);
    }
  }
  kernels::copy(MatrixView<const double>(c), fitted);
  return has_root;
}

}  // namespace hack::svd
