#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/cpu/factorize/tridiagonal_eigen.hpp"
#include "kernels/matrix_view.hpp"

namespace hack::kernels {

/// The SVD of one tile A (h, w) on the calling thread, in double, by its Gram matrix.
///
/// With X = A, or Aᵀ where h < w, of shape (depth, n), n <= depth, the Gram matrix XᵀX = Q T Qᵀ has the squares of the
/// singular values as eigenvalues. Z = Q (the k leading vectors of T) holds the singular vectors of the smaller side;
/// the columns of W = X Z are the singular vectors of the larger side, times sigma. The cost is 2n³ (Gram matrix and T)
/// + O(n²) for the spectrum, and 4n²k for the vectors.
///
/// A Gram matrix squares the condition number: singular values below 1e-8 of the largest are lost, which costs nothing
/// after rounding to f32. Columns of W that small are not orthogonal by themselves; they are orthogonalized afterwards,
/// and null columns are filled up. Nothing but the constructor throws.
class GramSvd {
 public:
  static constexpr index_t max_order = 256;
  static bool fits(index_t h, index_t w) { return std::min(h, w) <= max_order; }
  /// How many numbers `keep` writes.
  static index_t kept_size(index_t n) { return n * (n - 1) / 2 + 4 * n + 1; }

  /// Takes memory for tiles of min(h, w) <= max_n and max(h, w) <= max_depth.
  GramSvd(index_t max_n, index_t max_depth);

  /// Takes `scale` times the tile, a power of two that brings its largest number into [1, 2). True if its spectrum is
  /// known then.
  bool reduce(MatrixView<const float> tile, double scale);
  /// The i-th singular value of the scaled tile, 0 <= i < n, descending.
  double sigma(index_t i) const { return std::sqrt(std::max(lambda_.data()[i], 0.0) * unit_); }

  /// keep() writes the result of reduce(); take() reads it again, together with the same tile and scale.
  void keep(double* to) const;
  void take(MatrixView<const float> tile, double scale, const double* from);

  /// The leading u.cols singular vectors, the same bits however many are wanted; false where they fail a check.
  bool find_vectors(MatrixView<float> u, MatrixView<float> vt);

 private:
  void load(MatrixView<const float> tile, double scale);
  bool find_tridiagonal_vectors(index_t k);
  bool divide();
  void take_divided(index_t c);
  double* divided() { return work_.data() + 2 * n_; }  // (n, n) after d and e
  bool find_other_side(index_t k);
  bool complete_small_vectors(index_t k);
  bool complete_null(index_t c);
  void normalize(index_t c);
  double* column(index_t c) { return columns_.data() + c * column_size_; }
  double* z_panel(index_t p) { return z_.data() + p * n_ * vector_panel; }
  double* w_panel(index_t p) { return w_.data() + p * padded_depth() * vector_panel; }
  index_t padded_depth() const { return (depth_ + row_group - 1) / row_group * row_group; }
  void gather_columns(const double* panels, index_t rows, index_t row_count, index_t k);
  void scatter_column(double* panels, index_t rows, index_t c);
  void write(MatrixView<float> u, MatrixView<float> vt);

  index_t n_ = 0;
  index_t depth_ = 0;
  bool is_transposed_ = false;  // X = Aᵀ
  double unit_ = 0;             // T and its eigenvalues count in this power of two
  Buffer<double> x_;            // (depth, n), padded_row(n)
  Buffer<double> g_;            // (n, n), padded_row(n): G, then reflectors
  Buffer<double> d_, e_, tau_;  // (n)
  Buffer<double> lambda_;       // (n) descending
  Buffer<double> z_;            // panels of (n, vector_panel)
  Buffer<double> w_;            // panels of (padded depth, vector_panel)
  Buffer<double> norm_;         // (n) of the columns of W
  Buffer<double> columns_;      // (n, depth) vectors one after another
  index_t column_size_ = 0;
  Buffer<double> work_;   // (4, padded_row(n)), and working memory of dstedc
  Buffer<int> integers_;  // (3 + 5 n)
  TridiagonalEigen eigen_;
};

}  // namespace hack::kernels
