#include "kernels/cpu/factorize/linear_algebra.hpp"

#include <algorithm>

#include <cblas.h>
#include <lapacke.h>

namespace hack::kernels {
namespace {

// Row-major memory of A is column-major Aᵀ. LAPACK is called for the column-major reading throughout: symmetric
// matrices are the same either way, and their lower triangle is LAPACK's upper one.

CBLAS_TRANSPOSE to_cblas(Transpose op) { return op == Transpose::yes ? CblasTrans : CblasNoTrans; }

/// BLAS wants leading dimensions of at least 1, of empty matrices too.
template <class T>
blasint leading(MatrixView<T> x) {
  return static_cast<blasint>(std::max<index_t>(x.ld, 1));
}

template <class From, class To>
void copy_numbers(MatrixView<const From> from, MatrixView<To> to) {
  for (index_t i = 0; i < to.rows; ++i) {
    for (index_t j = 0; j < to.cols; ++j) to(i, j) = static_cast<To>(from(i, j));
  }
}

}  // namespace

void hold_blas_to_one_thread() { openblas_set_num_threads(1); }

void multiply(double alpha, MatrixView<const double> a, Transpose op_a, MatrixView<const double> b, Transpose op_b,
              double beta, MatrixView<double> c) {
  const index_t k = op_a == Transpose::yes ? a.rows : a.cols;
  cblas_dgemm(CblasRowMajor, to_cblas(op_a), to_cblas(op_b), static_cast<blasint>(c.rows), static_cast<blasint>(c.cols),
              static_cast<blasint>(k), alpha, a.data, leading(a), b.data, leading(b), beta, c.data, leading(c));
}

void multiply(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> c) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<blasint>(c.rows), static_cast<blasint>(c.cols),
              static_cast<blasint>(a.cols), 1, a.data, leading(a), b.data, leading(b), 0, c.data, leading(c));
}

void multiply_triangular(MatrixView<double> x, MatrixView<const double> l, Transpose op_l) {
  cblas_dtrmm(CblasRowMajor, CblasRight, CblasLower, to_cblas(op_l), CblasNonUnit, static_cast<blasint>(x.rows),
              static_cast<blasint>(x.cols), 1.0, l.data, leading(l), x.data, leading(x));
}

bool cholesky(MatrixView<double> a) {
  return LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', static_cast<lapack_int>(a.rows), a.data, leading(a)) == 0;
}

void solve_cholesky(MatrixView<const double> l, MatrixView<double> x) {
  // x is column-major xᵀ: a⁻¹ xᵀ is (x a⁻¹)ᵀ.
  LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'U', static_cast<lapack_int>(l.rows), static_cast<lapack_int>(x.rows), l.data,
                      leading(l), x.data, leading(x));
}

void invert_cholesky(MatrixView<const double> l, MatrixView<double> inverse) {
  copy(l, inverse);
  LAPACKE_dpotri_work(LAPACK_COL_MAJOR, 'U', static_cast<lapack_int>(l.rows), inverse.data, leading(inverse));
  for (index_t i = 0; i < inverse.rows; ++i) {
    for (index_t j = 0; j < i; ++j) inverse(j, i) = inverse(i, j);
  }
}

bool eigenvalues(MatrixView<double> a, std::span<double> out) {
  return LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'N', 'U', static_cast<lapack_int>(a.rows), a.data, leading(a), out.data()) ==
         0;
}

bool orthonormalize_rows(MatrixView<double> x, MatrixView<double> l, std::span<double> tau) {
  const auto k = static_cast<lapack_int>(x.rows);
  const auto n = static_cast<lapack_int>(x.cols);
  if (LAPACKE_dgeqrf(LAPACK_COL_MAJOR, n, k, x.data, leading(x), tau.data()) != 0) return false;
  for (index_t i = 0; i < l.rows; ++i) {
    for (index_t j = 0; j < l.cols; ++j) l(i, j) = j <= i ? x(i, j) : 0.0;
  }
  return LAPACKE_dorgqr(LAPACK_COL_MAJOR, n, k, k, x.data, leading(x), tau.data()) == 0;
}

void copy(MatrixView<const float> from, MatrixView<double> to) { copy_numbers(from, to); }
void copy(MatrixView<const double> from, MatrixView<float> to) { copy_numbers(from, to); }
void copy(MatrixView<const double> from, MatrixView<double> to) { copy_numbers(from, to); }

}  // namespace hack::kernels
