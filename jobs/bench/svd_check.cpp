#include "jobs/bench/svd_check.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <cblas.h>
#include <lapacke.h>

namespace hack::jobs {
namespace {

/// A matrix in double, column after column of its transpose.
struct Wide {
  index_t rows, cols;
  std::vector<double> numbers;

  explicit Wide(MatrixView<const float> from) : rows(from.rows), cols(from.cols), numbers(rows * cols) {
    for (index_t i = 0; i < rows; ++i) std::copy_n(from.row(i), cols, numbers.begin() + i * cols);
  }
};

/// max |X Xᵀ - I| of vectors x (count, size), as rows or as columns.
double loss_of_orthogonality(const Wide& x, bool as_rows) {
  const index_t count = as_rows ? x.rows : x.cols;
  const index_t size = as_rows ? x.cols : x.rows;
  std::vector<double> gram(count * count);
  const auto n = static_cast<blasint>(count);
  cblas_dgemm(CblasRowMajor, as_rows ? CblasNoTrans : CblasTrans, as_rows ? CblasTrans : CblasNoTrans, n, n,
              static_cast<blasint>(size), 1, x.numbers.data(), static_cast<blasint>(x.cols), x.numbers.data(),
              static_cast<blasint>(x.cols), 0, gram.data(), n);
  double worst = 0;
  for (index_t i = 0; i < count; ++i) {
    for (index_t j = 0; j < count; ++j) {
      const double error = std::fabs(gram[i * count + j] - (i == j ? 1 : 0));
      worst = error <= worst ? worst : error;
    }
  }
  return worst;
}

std::vector<double> exact_spectrum(Wide a) {
  const index_t r = std::min(a.rows, a.cols);
  std::vector<double> sigma(r), unused(r);
  double none = 0;
  const lapack_int info = LAPACKE_dgesvd(
      LAPACK_ROW_MAJOR, 'N', 'N', static_cast<lapack_int>(a.rows), static_cast<lapack_int>(a.cols), a.numbers.data(),
      static_cast<lapack_int>(a.cols), sigma.data(), &none, 1, &none, 1, unused.data());
  validate(info == 0, "LAPACK's dgesvd did not converge on a random tile ({}); report it", info);
  return sigma;
}

}  // namespace

void SvdErrors::take_larger(const SvdErrors& other) {
  spectrum = std::max(spectrum, other.spectrum);
  orthogonality = std::max(orthogonality, other.orthogonality);
  excess = std::max(excess, other.excess);
  energy = std::max(energy, other.energy);
}

SvdErrors measure_errors(MatrixView<const float> tile, MatrixView<const float> u, const float* sigma,
                         MatrixView<const float> vt) {
  const Wide a(tile);
  const index_t k = u.cols;
  const std::vector<double> exact = exact_spectrum(a);
  SvdErrors errors;
  double norm = 0, kept = 0, tail = 0, error = 0;  // squared
  for (std::size_t i = 0; i < exact.size(); ++i) {
    errors.spectrum = std::max(errors.spectrum, std::fabs(sigma[i] - exact[i]) / exact[0]);
    if (static_cast<index_t>(i) < k) {
      kept += double{sigma[i]} * sigma[i];
    } else {
      tail += exact[i] * exact[i];
    }
  }
  Wide rest = a;
  if (k > 0) {
    Wide left(u), right(vt);
    errors.orthogonality = std::max(loss_of_orthogonality(left, false), loss_of_orthogonality(right, true));
    for (index_t i = 0; i < u.rows; ++i) {
      for (index_t l = 0; l < k; ++l) left.numbers[i * k + l] *= sigma[l];
    }
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<blasint>(a.rows), static_cast<blasint>(a.cols),
                static_cast<blasint>(k), -1, left.numbers.data(), static_cast<blasint>(k), right.numbers.data(),
                static_cast<blasint>(a.cols), 1, rest.numbers.data(), static_cast<blasint>(a.cols));
  }
  for (double x : a.numbers) norm += x * x;
  for (double x : rest.numbers) error += x * x;
  errors.excess = (std::sqrt(error) - std::sqrt(tail)) / std::sqrt(norm);
  errors.energy = std::fabs(norm - kept - error) / norm;
  return errors;
}

}  // namespace hack::jobs
