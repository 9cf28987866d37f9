#pragma once

#include "kernels/buffer.hpp"
#include "kernels/matrix_view.hpp"

namespace hack::kernels {

/// The SVD of one tile by one call of LAPACK on the calling thread: divide and conquer (sgesdd), or QR iteration
/// (sgesvd) where divide and conquer fails. All vectors are computed. Nothing but the constructor and reserve throws.
class LibrarySvd {
 public:
  /// LAPACK's best work lengths of a shape. A call passes the lengths of its own shape even where more memory is there:
  /// LAPACK chooses its algorithm by the length, so the bits would otherwise depend on the largest tile of the batch.
  struct Lengths {
    int divide_and_conquer = 0;
    int qr_iteration = 0;
  };
  static Lengths work_lengths(index_t h, index_t w);

  /// Grows working memory for tiles of this shape; shapes of earlier calls still fit.
  void reserve(index_t h, index_t w, const Lengths& lengths);

  /// Factorizes `scale` times the tile; returns whether it converged. sigma(), u() and vt() are of the last tile.
  bool factorize(MatrixView<const float> tile, double scale, const Lengths& lengths);
  /// Finds sigma() alone.
  bool find_spectrum(MatrixView<const float> tile, double scale, const Lengths& lengths);
  const float* sigma() const { return sigma_.data(); }  // (r)
  const float* u() const { return u_.data(); }          // (h, r)
  const float* vt() const { return vt_.data(); }        // (r, w)

 private:
  // Aligned, so that bits do not depend on where callers' tiles lie.
  Buffer<float> a_;       // (h, w)
  Buffer<float> sigma_;   // (r)
  Buffer<float> u_;       // (h, r)
  Buffer<float> vt_;      // (r, w)
  Buffer<float> work_;    // (longest work length)
  Buffer<int> integers_;  // (8 r)
};

}  // namespace hack::kernels
