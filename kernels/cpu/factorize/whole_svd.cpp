#include "kernels/cpu/factorize/whole_svd.hpp"

#include <algorithm>
#include <cmath>

#include <cblas.h>
#include <lapacke.h>

#include "kernels/error.hpp"

namespace hack::kernels {
namespace {

constexpr index_t block_rows = 256;
constexpr index_t panel = 128;
constexpr index_t reduction_work = 64;          // times n, of dsytrd
constexpr index_t transformation_work = 65536;  // of dormtr: 128 columns and its own table

constexpr double small_product = 4e-8;  // of two singular values: below it columns of W may be 1e-7 off orthogonal
constexpr double null_norm = 1e-14;     // rounding of a column of W
constexpr double norm_tolerance = 1e-10;

index_t division_work(index_t n) { return 1 + 4 * n + n * n; }

template <class T>
void grow(Buffer<T>& buffer, index_t size) {
  if (size > buffer.size()) buffer = Buffer<T>(size);
}

lapack_int to_lapack(index_t n) { return static_cast<lapack_int>(n); }

}  // namespace

index_t WholeSvd::scratch_bytes(index_t h, index_t w, index_t k) {
  const index_t n = std::min(h, w), depth = std::max(h, w);
  if (k == 0) return 8 * (block_rows + reduction_work) * n;
  return 8 * (2 * n * n + (block_rows + panel) * n + panel * depth);
}

void WholeSvd::reserve(index_t h, index_t w) {
  const index_t n = std::min(h, w), depth = std::max(h, w);
  grow(block_, block_rows * n);
  grow(vectors_, n * n);
  grow(work_, std::max({reduction_work * n, 2 * n + division_work(n), transformation_work}));
  grow(integers_, 3 + 5 * n);
  grow(z_, panel * n);
  grow(w_, panel * depth);
  grow(norm_, n);
  grow(column_, depth);
}

/// Widens rows first … first + rows - 1 of X into block_.
void WholeSvd::widen(MatrixView<const float> tile, double scale, index_t first, index_t rows) {
  double* to = block_.data();
  if (is_transposed_) {
    for (index_t i = 0; i < n_; ++i) {
      const float* from = tile.row(i) + first;
      for (index_t p = 0; p < rows; ++p) to[i * rows + p] = from[p] * scale;
    }
    return;
  }
  for (index_t p = 0; p < rows; ++p) {
    const float* from = tile.row(first + p);
    for (index_t i = 0; i < n_; ++i) to[p * n_ + i] = from[i] * scale;
  }
}

bool WholeSvd::reduce(MatrixView<const float> tile, double scale, double* kept) {
  is_transposed_ = tile.rows < tile.cols;
  n_ = std::min(tile.rows, tile.cols);
  depth_ = std::max(tile.rows, tile.cols);
  const lapack_int n = to_lapack(n_), ld = to_lapack(padded(n_));
  double* g = kept;  // column-major, lower triangle
  double* is_valid = g + padded(n_) * n_;
  double* d = is_valid + 1;
  double* e = d + n_;
  double* tau = e + n_;
  double* lambda = tau + n_;
  *is_valid = 0;
  for (index_t first = 0; first < depth_; first += block_rows) {
    const index_t rows = std::min(block_rows, depth_ - first);
    widen(tile, scale, first, rows);
    const lapack_int depth = to_lapack(rows);
    cblas_dsyrk(CblasColMajor, CblasLower, is_transposed_ ? CblasTrans : CblasNoTrans, n, depth, 1.0, block_.data(),
                is_transposed_ ? depth : n, first == 0 ? 0.0 : 1.0, g, ld);
  }
  if (LAPACKE_dsytrd_work(LAPACK_COL_MAJOR, 'L', n, g, ld, d, e, tau, work_.data(), to_lapack(reduction_work * n_)) !=
      0)
    return false;
  std::copy_n(d, n_, lambda);
  std::copy_n(e, n_ - 1, work_.data());
  if (LAPACKE_dsterf_work(n, lambda, work_.data()) != 0) return false;
  std::reverse(lambda, lambda + n_);
  *is_valid = 1;
  return true;
}

double WholeSvd::sigma(const double* kept, index_t n, index_t i) {
  const double* lambda = kept + padded(n) * n + 1 + 3 * n;
  return std::sqrt(std::max(lambda[i], 0.0));
}

bool WholeSvd::find_tridiagonal_vectors(const double* kept) {
  const double* from = kept + padded(n_) * n_ + 1;
  double* d = work_.data();
  double* e = d + n_;
  std::copy_n(from, n_, d);
  std::copy_n(from + n_, n_ - 1, e);
  return LAPACKE_dstedc_work(LAPACK_COL_MAJOR, 'I', to_lapack(n_), d, e, vectors_.data(), to_lapack(n_), e + n_,
                             to_lapack(division_work(n_)), integers_.data(), to_lapack(3 + 5 * n_)) == 0;
}

/// Writes vectors first … first + width - 1 of the smaller side to z_, and the vectors of the larger side, times sigma,
/// to w_. False where the norm of a column of W = X Z is not the singular value that the spectrum has: then an
/// eigenvector is wrong.
bool WholeSvd::find_panel(MatrixView<const float> tile, double scale, const double* kept, index_t first,
                          index_t width) {
  for (index_t q = 0; q < width; ++q) {
    std::copy_n(vectors_.data() + (n_ - 1 - first - q) * n_, n_, z_.data() + q * n_);
  }
  const double* tau = kept + padded(n_) * n_ + 1 + 2 * n_;
  // dormtr writes ones among the reflectors and restores the numbers before it returns: `kept` is not changed.
  if (LAPACKE_dormtr_work(LAPACK_COL_MAJOR, 'L', 'L', 'N', to_lapack(n_), to_lapack(width), const_cast<double*>(kept),
                          to_lapack(padded(n_)), tau, z_.data(), to_lapack(n_), work_.data(),
                          to_lapack(transformation_work)) != 0)
    return false;
  for (index_t row = 0; row < depth_; row += block_rows) {
    const index_t rows = std::min(block_rows, depth_ - row);
    widen(tile, scale, row, rows);
    cblas_dgemm(CblasRowMajor, is_transposed_ ? CblasTrans : CblasNoTrans, CblasTrans, to_lapack(rows),
                to_lapack(width), to_lapack(n_), 1.0, block_.data(), to_lapack(is_transposed_ ? rows : n_), z_.data(),
                to_lapack(n_), 0.0, w_.data() + row * width, to_lapack(width));
  }
  std::fill_n(norm_.data() + first, width, 0.0);
  for (index_t row = 0; row < depth_; ++row) {
    for (index_t q = 0; q < width; ++q)
      norm_.data()[first + q] += w_.data()[row * width + q] * w_.data()[row * width + q];
  }
  const double* lambda = tau + n_;
  for (index_t c = first; c < first + width; ++c) {
    if (!(std::fabs(norm_.data()[c] - lambda[c]) <= norm_tolerance * lambda[0])) return false;
    norm_.data()[c] = std::sqrt(norm_.data()[c]);
  }
  return true;
}

/// Makes column_, of norm `left`, orthogonal to vectors first … c - 1 and of unit length. A null column becomes the
/// first coordinate vector that has enough left outside the span of the vectors before it, as in
/// GramSvd::complete_null().
bool WholeSvd::complete(const Side& w, index_t c, index_t first, double left) {
  double* y = column_.data();
  const double null = null_norm * norm_.data()[0];
  const auto clear = [&](index_t from) {
    for (index_t j = from; j < c; ++j) {
      double product = 0;
      for (index_t i = 0; i < depth_; ++i) product += y[i] * w.at(j, i);
      for (index_t i = 0; i < depth_; ++i) y[i] -= product * w.at(j, i);
    }
    return cblas_dnrm2(static_cast<blasint>(depth_), y, 1);
  };
  const auto normalize = [&](double norm) {
    for (index_t i = 0; i < depth_; ++i) y[i] /= norm;
  };
  for (int pass = 0; pass < 2 && left > null; ++pass) left = clear(first);
  if (left > null) {
    normalize(left);
    return true;
  }
  const auto size = static_cast<double>(depth_);
  const double enough = 0.25 * (size - static_cast<double>(c)) / size;  // of the square
  for (index_t t = 0; t < depth_; ++t) {
    double rest = 1;
    for (index_t j = 0; j < c && rest >= enough; ++j) rest -= double{w.at(j, t)} * w.at(j, t);
    if (rest < enough) continue;
    std::fill_n(y, depth_, 0.0);
    y[t] = 1;
    for (int pass = 0; pass < 2; ++pass) normalize(clear(0));
    return true;
  }
  return false;
}

bool WholeSvd::write_panel(const double* kept, index_t first, index_t width, index_t count, const Side& z,
                           const Side& w) {
  const double* norm = norm_.data();
  const double smallest = small_product * norm[0] * norm[0];
  // Norms of small columns are noise; the spectrum, which no vector changes, says which columns are small.
  const auto sigma_of = [&](index_t c) { return sigma(kept, n_, c); };
  for (index_t c = first; c < std::min(first + width, count); ++c) {
    for (index_t i = 0; i < n_; ++i) z.at(c, i) = static_cast<float>(z_.data()[(c - first) * n_ + i]);
    const double* from = w_.data() + c - first;
    for (index_t i = 0; i < depth_; ++i) column_.data()[i] = from[i * width];
    index_t near = c;  // the first vector before c that c may not be orthogonal to
    while (near > 0 && sigma_of(near - 1) * sigma_of(c) < smallest) --near;
    if (near < c && !complete(w, c, near, norm[c])) return false;
    const double divisor = near < c ? 1.0 : norm[c];
    for (index_t i = 0; i < depth_; ++i) w.at(c, i) = static_cast<float>(column_.data()[i] / divisor);
  }
  return true;
}

bool WholeSvd::find_vectors(MatrixView<const float> tile, double scale, const double* kept, MatrixView<float> u,
                            MatrixView<float> vt) {
  is_transposed_ = tile.rows < tile.cols;
  n_ = std::min(tile.rows, tile.cols);
  depth_ = std::max(tile.rows, tile.cols);
  const index_t count = u.cols;
  if (count == 0) return true;
  if (!find_tridiagonal_vectors(kept)) return false;
  const Side left{u.data, tile.rows, u.ld, 1}, right{vt.data, tile.cols, 1, vt.ld};
  for (index_t first = 0; first < count; first += panel) {
    const index_t width = std::min(panel, n_ - first);
    if (!find_panel(tile, scale, kept, first, width)) return false;
    if (!write_panel(kept, first, width, count, is_transposed_ ? left : right, is_transposed_ ? right : left)) {
      return false;
    }
  }
  return true;
}

}  // namespace hack::kernels
