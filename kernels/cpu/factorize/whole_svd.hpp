#pragma once

#include "kernels/buffer.hpp"
#include "kernels/matrix_view.hpp"

namespace hack::kernels {

/// The SVD of one tile A (h, w) with min(h, w) in the hundreds or thousands, a whole matrix for instance, on the
/// calling thread. As in GramSvd, X = A, or Aᵀ where h < w, of shape (depth, n); here by BLAS and LAPACK in double, and
/// in bounded memory. X is widened to double a few hundred rows at a time, G = XᵀX is the sum over these blocks of
/// rows, and becomes tridiagonal in place (dsytrd). All vectors of T are found (dstedc); panels of fixed width of them
/// are transformed and multiplied by X, as many panels as are wanted. So the bits of the first vectors do not depend on
/// the number of vectors. Bytes, beside A and the result:
///
///     kept between the steps   8 n²
///     reduce()                 8 (256 n)
///     find_vectors()           8 (2 n² + 384 n + 128 depth)
///
/// Nothing but reserve throws.
class WholeSvd {
 public:
  /// How many numbers are kept between the two steps.
  static index_t kept_size(index_t n) { return padded(n) * n + 4 * n + 1; }
  /// Bytes of one call beside the kept numbers, from the table above: of reduce() for k = 0, else of find_vectors().
  static index_t scratch_bytes(index_t h, index_t w, index_t k);

  /// Grows working memory for tiles of this shape; shapes of earlier calls still fit.
  void reserve(index_t h, index_t w);

  /// Finds the spectrum of `scale` times the tile, a power of two that brings its largest number into [1, 2); leaves
  /// the reduced form in `kept` for find_vectors. False, and kept of no use, where LAPACK's iteration does not
  /// converge.
  bool reduce(MatrixView<const float> tile, double scale, double* kept);
  /// Whether reduce() found the spectrum, and the i-th singular value, descending.
  static bool is_reduced(const double* kept, index_t n) { return kept[padded(n) * n] > 0; }
  static double sigma(const double* kept, index_t n, index_t i);

  /// The leading u.cols singular vectors; false where they fail a check.
  bool find_vectors(MatrixView<const float> tile, double scale, const double* kept, MatrixView<float> u,
                    MatrixView<float> vt);

 private:
  /// Vectors of one side in the result.
  struct Side {
    float* data;
    index_t length, step, next;  // numbers, from one number to the next, from one vector to the next

    float& at(index_t vector, index_t number) const { return data[vector * next + number * step]; }
  };

  static index_t padded(index_t n) { return (n + 7) / 8 * 8; }
  void widen(MatrixView<const float> tile, double scale, index_t first, index_t rows);
  bool find_tridiagonal_vectors(const double* kept);
  bool find_panel(MatrixView<const float> tile, double scale, const double* kept, index_t first, index_t width);
  bool write_panel(const double* kept, index_t first, index_t width, index_t count, const Side& z, const Side& w);
  bool complete(const Side& w, index_t c, index_t first, double left);

  index_t n_ = 0;
  index_t depth_ = 0;
  bool is_transposed_ = false;  // X = Aᵀ
  Buffer<double> block_;        // rows of X: (rows, n), or (n, rows) where X = Aᵀ
  Buffer<double> vectors_;      // (n, n) of T, ascending, one after another
  Buffer<double> work_;
  Buffer<int> integers_;
  Buffer<double> z_;       // (panel, n) vectors one after another
  Buffer<double> w_;       // (depth, panel)
  Buffer<double> norm_;    // (n) of the columns of W
  Buffer<double> column_;  // (depth)
};

}  // namespace hack::kernels
