#include "svd/pivot_refit.hpp"

#include "svd/linear_algebra.hpp"

namespace hack::svd {
namespace {

void grow(Buffer<double>& buffer, index_t size) {
  if (buffer.size() < size) buffer = Buffer<double>(size);
}

}  // namespace

void PivotRefit::reserve(index_t h, index_t w, index_t k) {
  grow(rounded_, k * w);
  grow(weighted_, k * w);
  grow(gram_, k * k);
  grow(cross_, k * k);
  grow(c_, (h - k) * k);
  grow(change_, (h - k) * k);
}

void PivotRefit::apply(MatrixView<const float> pivots, MatrixView<const float> rounded, std::span<const double> weights,
                       MatrixView<float> coefficients) {
  const index_t k = pivots.rows, w = pivots.cols, others = coefficients.rows;
  if (k == 0 || others == 0) return;
  const MatrixView<double> q(rounded_.data(), k, w), weighted(weighted_.data(), k, w), gram(gram_.data(), k, k),
      cross(cross_.data(), k, k), c(c_.data(), others, k), change(change_.data(), others, k);
  double noise = 0;
  for (index_t i = 0; i < k; ++i) {
    for (index_t j = 0; j < w; ++j) {
      const double error = double{pivots(i, j)} - rounded(i, j);
      q(i, j) = rounded(i, j);
      weighted(i, j) = error * weights[static_cast<std::size_t>(j)];
      noise += weighted(i, j) * error;
    }
  }
  if (noise == 0) return;
  multiply(1, weighted, Transpose::no, q, Transpose::yes, 0, cross);
  for (index_t i = 0; i < k; ++i) {
    for (index_t j = 0; j < w; ++j) weighted(i, j) = q(i, j) * weights[static_cast<std::size_t>(j)];
  }
  multiply(1, weighted, Transpose::no, q, Transpose::yes, 0, gram);
  double trace = 0;
  for (index_t i = 0; i < k; ++i) trace += gram(i, i);
  // Where hardly any pivot had to be rounded, the noise may be below what sums of k w terms in double leave.
  const double ridge = (noise + 1e-12 * trace) / static_cast<double>(k);
  for (index_t i = 0; i < k; ++i) gram(i, i) += ridge;
  if (!cholesky(gram)) return;
  copy(MatrixView<const float>(coefficients), c);
  multiply(1, c, Transpose::no, cross, Transpose::no, 0, change);
  solve_cholesky(gram, change);
  for (index_t i = 0; i < others; ++i) {
    for (index_t l = 0; l < k; ++l) coefficients(i, l) = static_cast<float>(c(i, l) + change(i, l));
  }
}

}  // namespace hack::svd
