#include "kernels/cpu/factorize/library_svd.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <lapacke.h>

namespace hack::kernels {
namespace {

// Row-major memory of A (h, w) is column-major Aᵀ (w, h) = V diag(sigma) Uᵀ. So LAPACK gets M = w, N = h; its U (w, r)
// is V and, read row by row, Vᵀ (r, w); its Vᵀ (r, h) is Uᵀ and, read row by row, U (h, r). Nothing is transposed.

lapack_int rounded_up(float length) {
  return static_cast<lapack_int>(std::nextafter(length, std::numeric_limits<float>::max()));
}

/// Copies scale * a; in double, because the scale of a tile of subnormals is no float.
void copy_scaled(MatrixView<const float> a, double scale, float* to) {
  for (index_t i = 0; i < a.rows; ++i) {
    for (index_t j = 0; j < a.cols; ++j) to[i * a.cols + j] = static_cast<float>(a(i, j) * scale);
  }
}

template <class T>
void grow(Buffer<T>& buffer, index_t size) {
  if (size > buffer.size()) buffer = Buffer<T>(size);
}

}  // namespace

LibrarySvd::Lengths LibrarySvd::work_lengths(index_t h, index_t w) {
  const auto m = static_cast<lapack_int>(w);
  const auto n = static_cast<lapack_int>(h);
  const lapack_int r = std::min(m, n);
  float a = 0, s = 0, u = 0, vt = 0, length = 0;
  lapack_int iwork = 0;
  Lengths out;
  lapack_int info = LAPACKE_sgesdd_work(LAPACK_COL_MAJOR, 'S', m, n, &a, m, &s, &u, m, &vt, r, &length, -1, &iwork);
  HACK_EXPECT(info == 0);
  out.divide_and_conquer = rounded_up(length);
  info = LAPACKE_sgesvd_work(LAPACK_COL_MAJOR, 'S', 'S', m, n, &a, m, &s, &u, m, &vt, r, &length, -1);
  HACK_EXPECT(info == 0);
  out.qr_iteration = rounded_up(length);
  return out;
}

void LibrarySvd::reserve(index_t h, index_t w, const Lengths& lengths) {
  const index_t r = std::min(h, w);
  grow(a_, h * w);
  grow(sigma_, r);
  grow(u_, h * r);
  grow(vt_, r * w);
  grow(work_, std::max(lengths.divide_and_conquer, lengths.qr_iteration));
  grow(integers_, 8 * r);
}

bool LibrarySvd::factorize(MatrixView<const float> tile, double scale, const Lengths& lengths) {
  const auto m = static_cast<lapack_int>(tile.cols);
  const auto n = static_cast<lapack_int>(tile.rows);
  const lapack_int r = std::min(m, n);
  copy_scaled(tile, scale, a_.data());
  lapack_int info = LAPACKE_sgesdd_work(LAPACK_COL_MAJOR, 'S', m, n, a_.data(), m, sigma_.data(), vt_.data(), m,
                                        u_.data(), r, work_.data(), lengths.divide_and_conquer, integers_.data());
  if (info == 0) return true;
  copy_scaled(tile, scale, a_.data());
  info = LAPACKE_sgesvd_work(LAPACK_COL_MAJOR, 'S', 'S', m, n, a_.data(), m, sigma_.data(), vt_.data(), m, u_.data(), r,
                             work_.data(), lengths.qr_iteration);
  return info == 0;
}

bool LibrarySvd::find_spectrum(MatrixView<const float> tile, double scale, const Lengths& lengths) {
  const auto m = static_cast<lapack_int>(tile.cols);
  const auto n = static_cast<lapack_int>(tile.rows);
  copy_scaled(tile, scale, a_.data());
  return LAPACKE_sgesdd_work(LAPACK_COL_MAJOR, 'N', m, n, a_.data(), m, sigma_.data(), vt_.data(), m, u_.data(),
                             std::min(m, n), work_.data(), lengths.divide_and_conquer, integers_.data()) == 0;
}

}  // namespace hack::kernels
