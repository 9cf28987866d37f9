#include "kernels/cpu/factorize/gram_svd.hpp"

#include <algorithm>
#include <cmath>

#include <lapacke.h>

namespace hack::kernels {
namespace {

// Thresholds in units in which the largest eigenvalue is about 1.
constexpr double parallel_gap = 1e-12;  // eigenvectors of eigenvalues this close are determined together alone
constexpr double close_gap = 1e-7;      // eigenvectors of eigenvalues this close are orthogonalized
constexpr double vector_residual = 1e-13;
constexpr double small_product = 4e-8;  // of two singular values: below it columns of W may be 1e-7 off orthogonal
constexpr double null_norm = 1e-14;     // rounding of a column of W
constexpr double norm_tolerance = 1e-11;

index_t panels_of(index_t k) { return (k + vector_panel - 1) / vector_panel; }

index_t division_size(index_t n) { return 2 * n * n + 6 * n + 1; }  // vectors, d, e and LAPACK's working memory

}  // namespace

GramSvd::GramSvd(index_t max_n, index_t max_depth)
    : x_((max_depth + row_group) * padded_row(max_n)),
      g_((max_n + row_group) * padded_row(max_n)),
      d_(max_n),
      e_(max_n),
      tau_(max_n),
      lambda_(max_n),
      z_(panels_of(max_n) * vector_panel * max_n),
      w_(panels_of(max_n) * vector_panel * (max_depth + row_group)),
      norm_(panels_of(max_n) * vector_panel),
      columns_(max_n * max_depth),
      work_(std::max(4 * padded_row(max_n), division_size(max_n))),
      integers_(3 + 5 * max_n),
      eigen_(max_n) {}

void GramSvd::load(MatrixView<const float> tile, double scale) {
  is_transposed_ = tile.rows < tile.cols;
  depth_ = std::max(tile.rows, tile.cols);
  n_ = std::min(tile.rows, tile.cols);
  const index_t ld = padded_row(n_);
  double* x = x_.data();
  for (index_t p = 0; p < padded_depth(); ++p) std::fill(x + p * ld + (p < depth_ ? n_ : 0), x + (p + 1) * ld, 0.0);
  if (!is_transposed_) {
    for (index_t p = 0; p < depth_; ++p) {
      const float* from = tile.row(p);
      for (index_t i = 0; i < n_; ++i) x[p * ld + i] = from[i] * scale;
    }
    return;
  }
  constexpr index_t block = 8;  // a cache line of X
  for (index_t i = 0; i < n_; i += block) {
    const index_t end = std::min(i + block, n_);
    for (index_t p = 0; p < depth_; ++p) {
      for (index_t r = i; r < end; ++r) x[p * ld + r] = tile(r, p) * scale;
    }
  }
}

bool GramSvd::reduce(MatrixView<const float> tile, double scale) {
  load(tile, scale);
  lower_gram(x_.data(), depth_, n_, g_.data());
  tridiagonalize(g_.data(), n_, d_.data(), e_.data(), tau_.data(), work_.data());
  double bound = 0;
  for (index_t i = 0; i < n_; ++i) {
    const double left = i > 0 ? std::fabs(e_.data()[i - 1]) : 0;
    const double right = i + 1 < n_ ? std::fabs(e_.data()[i]) : 0;
    bound = std::max(bound, std::fabs(d_.data()[i]) + left + right);
  }
  unit_ = std::ldexp(1.0, std::ilogb(bound) + 1);
  for (index_t i = 0; i < n_; ++i) d_.data()[i] /= unit_;
  for (index_t i = 0; i + 1 < n_; ++i) e_.data()[i] /= unit_;
  return eigen_.find_values(n_, d_.data(), e_.data(), lambda_.data());
}

void GramSvd::keep(double* to) const {
  const index_t ld = padded_row(n_);
  *to++ = unit_;
  for (const Buffer<double>* part : {&d_, &e_, &tau_, &lambda_}) to = std::copy_n(part->data(), n_, to);
  for (index_t m = 1; m < n_; ++m) to = std::copy_n(g_.data() + m * ld, m, to);
}

void GramSvd::take(MatrixView<const float> tile, double scale, const double* from) {
  load(tile, scale);
  const index_t ld = padded_row(n_);
  unit_ = *from++;
  for (Buffer<double>* part : {&d_, &e_, &tau_, &lambda_}) {
    std::copy_n(from, n_, part->data());
    from += n_;
  }
  for (index_t m = 0; m < n_; ++m) {
    double* row = g_.data() + m * ld;
    std::fill(std::copy_n(from, m, row), row + ld, 0.0);
    from += m;
  }
}

void GramSvd::gather_columns(const double* panels, index_t rows, index_t row_count, index_t k) {
  column_size_ = row_count;
  for (index_t c = 0; c < k; ++c) {
    const double* from = panels + c / vector_panel * rows * vector_panel + c % vector_panel;
    for (index_t i = 0; i < row_count; ++i) column(c)[i] = from[i * vector_panel];
  }
}

void GramSvd::scatter_column(double* panels, index_t rows, index_t c) {
  double* to = panels + c / vector_panel * rows * vector_panel + c % vector_panel;
  for (index_t i = 0; i < column_size_; ++i) to[i * vector_panel] = column(c)[i];
}

void GramSvd::normalize(index_t c) {
  double* y = column(c);
  const double factor = 1 / std::sqrt(dot(y, y, column_size_));
  for (index_t i = 0; i < column_size_; ++i) y[i] *= factor;
}

/// All eigenvectors of T by LAPACK's divide and conquer (dstedc; Gu and Eisenstat 1995), which are orthogonal whatever
/// the gaps between eigenvalues: into `divided`, ascending.
bool GramSvd::divide() {
  double* d = work_.data();
  double* e = d + n_;
  double* vectors = divided();
  const auto n = static_cast<lapack_int>(n_);
  std::copy_n(d_.data(), n_, d);
  std::copy_n(e_.data(), n_, e);
  return LAPACKE_dstedc_work(LAPACK_COL_MAJOR, 'I', n, d, e, vectors, n, vectors + n_ * n_, 1 + 4 * n + n * n,
                             integers_.data(), 3 + 5 * n) == 0;
}

/// Takes vector c of T from `divided`.
void GramSvd::take_divided(index_t c) {
  double* to = z_panel(c / vector_panel) + c % vector_panel;
  const double* from = divided() + (n_ - 1 - c) * n_;
  for (index_t i = 0; i < n_; ++i) to[i * vector_panel] = from[i];
}

bool GramSvd::find_tridiagonal_vectors(index_t k) {
  const double* lambda = lambda_.data();
  const auto is_parallel = [&](index_t c) {
    return (c > 0 && lambda[c - 1] - lambda[c] < parallel_gap) ||
           (c + 1 < n_ && lambda[c] - lambda[c + 1] < parallel_gap);
  };
  // Three cases, from cheap to safe. A twisted vector is good by itself where the panel's residual is small and its
  // eigenvalue is apart from its neighbours: residual / gap bounds the loss of orthogonality. Vectors of close
  // eigenvalues are orthogonalized below, where the residual still fixes the plane they span. Vectors of eigenvalues
  // equal up to rounding come from divide and conquer. Every decision depends on the whole spectrum or on a whole
  // panel, never on k: so the first vectors are the same however many are wanted.
  bool is_divided = false;
  for (index_t p = 0; p < panels_of(k); ++p) {
    alignas(64) double of_panel[vector_panel];
    for (index_t q = 0; q < vector_panel; ++q) of_panel[q] = lambda[std::min(p * vector_panel + q, n_ - 1)];
    const double residual = eigen_.find_vectors(n_, d_.data(), e_.data(), of_panel, z_panel(p));
    const bool is_good = residual <= vector_residual;
    for (index_t c = p * vector_panel; c < std::min((p + 1) * vector_panel, k); ++c) {
      if (is_good && !is_parallel(c)) continue;
      if (!is_divided && !divide()) return false;
      is_divided = true;
      take_divided(c);
    }
  }
  bool is_gathered = false;
  for (index_t c = 1; c < k; ++c) {
    if (lambda[c - 1] - lambda[c] >= close_gap) continue;
    if (!is_gathered) gather_columns(z_.data(), n_, n_, k);
    is_gathered = true;
    for (index_t j = c - 1; j >= 0 && lambda[j] - lambda[c] < close_gap; --j) {
      subtract_multiple(dot(column(c), column(j), n_), column(j), column(c), n_);
    }
    normalize(c);
    scatter_column(z_.data(), n_, c);
  }
  return true;
}

/// Makes column c a unit vector orthogonal to the columns before it, out of the first coordinate vector that has enough
/// left outside their span. The projector on the rest has the trace size - c, so one coordinate keeps at least the
/// mean, (size - c) / size of its square. A quarter of the mean is enough: two passes of Gram-Schmidt orthogonalize it
/// to full precision.
bool GramSvd::complete_null(index_t c) {
  const auto size = static_cast<double>(column_size_);
  const double enough = 0.25 * (size - static_cast<double>(c)) / size;  // of the square
  double* y = column(c);
  for (index_t t = 0; t < column_size_; ++t) {
    double left = 1;
    for (index_t j = 0; j < c && left >= enough; ++j) left -= column(j)[t] * column(j)[t];
    if (left < enough) continue;
    std::fill_n(y, column_size_, 0.0);
    y[t] = 1;
    for (int pass = 0; pass < 2; ++pass) {
      for (index_t j = 0; j < c; ++j) subtract_multiple(dot(y, column(j), column_size_), column(j), y, column_size_);
      normalize(c);
    }
    return true;
  }
  return false;
}

/// Orthogonalizes the columns of W that are small beside the first one against the columns before them, and brings them
/// to unit length; leaves the other columns.
///
/// Columns i and j of W = X Z are orthogonal to about eps sigma_1² as they are, so their unit vectors to eps sigma_1² /
/// (sigma_i sigma_j): a column needs work against the columns whose product of norms is below small_product sigma_1².
/// Norms descend, so these columns follow each other and end at c. Each is orthogonalized twice, which is enough for
/// full precision (Giraud, Langou, Rozložník 2005).
bool GramSvd::complete_small_vectors(index_t k) {
  double* norm = norm_.data();
  const double smallest = small_product * norm[0] * norm[0];
  const double null = null_norm * norm[0];
  gather_columns(w_.data(), padded_depth(), depth_, k);
  for (index_t c = 0; c < k; ++c) {
    index_t first = c;
    while (first > 0 && norm[first - 1] * norm[c] < smallest) --first;
    double left = norm[c];
    for (int pass = 0; pass < 2 && first < c && left > null; ++pass) {
      for (index_t j = first; j < c; ++j)
        subtract_multiple(dot(column(c), column(j), depth_), column(j), column(c), depth_);
      left = std::sqrt(dot(column(c), column(c), depth_));
    }
    if (left > null) {
      normalize(c);
    } else if (!complete_null(c)) {
      return false;
    }
    if (first < c) scatter_column(w_.data(), padded_depth(), c);
  }
  for (index_t c = k - 1; c > 0; --c) {
    if (norm[c - 1] * norm[c] < smallest) norm[c] = 1;  // the column is of unit length now
  }
  return true;
}

bool GramSvd::find_other_side(index_t k) {
  double* norm = norm_.data();
  for (index_t p = 0; p < panels_of(k); ++p) {
    apply_reflectors({g_.data(), tau_.data()}, n_, z_panel(p));
    multiply_panel(x_.data(), depth_, n_, z_panel(p), w_panel(p));
    double squares[vector_panel] = {};
    for (index_t i = 0; i < depth_; ++i) {
      const double* row = w_panel(p) + i * vector_panel;
      for (index_t q = 0; q < vector_panel; ++q) squares[q] += row[q] * row[q];
    }
    for (index_t q = 0; q < vector_panel; ++q) {
      const index_t c = p * vector_panel + q;
      norm[c] = std::sqrt(squares[q]);
      if (c < k && !(std::fabs(squares[q] / unit_ - lambda_.data()[c]) <= norm_tolerance)) return false;
    }
  }
  for (index_t c = 1; c < k; ++c) {
    if (norm[c - 1] * norm[c] < small_product * norm[0] * norm[0]) return complete_small_vectors(k);
  }
  return true;
}

void GramSvd::write(MatrixView<float> u, MatrixView<float> vt) {
  const index_t k = u.cols;
  const auto write_rows = [&](const double* panels, index_t rows, const double* norm, MatrixView<float> to) {
    for (index_t i = 0; i < to.rows; ++i) {
      for (index_t c = 0; c < k; c += vector_panel) {
        const double* from = panels + (c * rows) + i * vector_panel;
        for (index_t q = 0; q < std::min(vector_panel, k - c); ++q) {
          to(i, c + q) = static_cast<float>(norm == nullptr ? from[q] : from[q] / norm[c + q]);
        }
      }
    }
  };
  const auto write_columns = [&](const double* panels, index_t rows, const double* norm, MatrixView<float> to) {
    for (index_t c = 0; c < k; ++c) {
      const double* from = panels + c / vector_panel * vector_panel * rows + c % vector_panel;
      const double factor = norm == nullptr ? 1 : 1 / norm[c];
      for (index_t i = 0; i < to.cols; ++i) to(c, i) = static_cast<float>(from[i * vector_panel] * factor);
    }
  };
  if (is_transposed_) {
    write_rows(z_.data(), n_, nullptr, u);
    write_columns(w_.data(), padded_depth(), norm_.data(), vt);
  } else {
    write_rows(w_.data(), padded_depth(), norm_.data(), u);
    write_columns(z_.data(), n_, nullptr, vt);
  }
}

bool GramSvd::find_vectors(MatrixView<float> u, MatrixView<float> vt) {
  const index_t k = u.cols;
  if (k == 0) return true;
  if (!find_tridiagonal_vectors(k) || !find_other_side(k)) return false;
  write(u, vt);
  return true;
}

}  // namespace hack::kernels
