#include "kernels/tile_svd.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include <cblas.h>
#include <lapacke.h>
#include <omp.h>

#include "kernels/buffer.hpp"

namespace hack::kernels {
namespace {

// Row-major memory of A (h, w) is column-major Aᵀ (w, h) = V diag(sigma) Uᵀ. So LAPACK gets M = w, N = h; its U (w, r)
// is V and, read row by row, Vᵀ (r, w); its Vᵀ (r, h) is Uᵀ and, read row by row, U (h, r). Nothing is transposed.

using Shape = std::pair<index_t, index_t>;  // h, w

/// LAPACK's best work lengths of a shape. Passed as they are whatever room there is: LAPACK chooses its algorithm by
/// them, so the bits would otherwise depend on the largest tile of the batch.
struct WorkLengths {
  lapack_int divide_and_conquer = 0;
  lapack_int qr_iteration = 0;
};

lapack_int rounded_up(float length) {
  return static_cast<lapack_int>(std::nextafter(length, std::numeric_limits<float>::max()));
}

WorkLengths work_lengths(Shape shape) {
  const auto m = static_cast<lapack_int>(shape.second);
  const auto n = static_cast<lapack_int>(shape.first);
  const lapack_int r = std::min(m, n);
  float a = 0, s = 0, u = 0, vt = 0, length = 0;
  lapack_int iwork = 0;
  WorkLengths out;
  lapack_int info = LAPACKE_sgesdd_work(LAPACK_COL_MAJOR, 'S', m, n, &a, m, &s, &u, m, &vt, r, &length, -1, &iwork);
  HACK_EXPECT(info == 0);
  out.divide_and_conquer = rounded_up(length);
  info = LAPACKE_sgesvd_work(LAPACK_COL_MAJOR, 'S', 'S', m, n, &a, m, &s, &u, m, &vt, r, &length, -1);
  HACK_EXPECT(info == 0);
  out.qr_iteration = rounded_up(length);
  return out;
}

/// What one thread needs for the largest tile of a batch. Aligned, so that bits do not depend on where callers' tiles
/// lie.
struct Workspace {
  Buffer<float> a;           // (h, w)
  Buffer<float> sigma;       // (r)
  Buffer<float> u;           // (h, r)
  Buffer<float> vt;          // (r, w)
  Buffer<float> work;        // (longest work length)
  Buffer<lapack_int> iwork;  // (8 r)

  Workspace(index_t area, index_t r, index_t u_size, index_t vt_size, index_t work_size)
      : a(area), sigma(r), u(u_size), vt(vt_size), work(work_size), iwork(8 * r) {}
};

/// The program's threads are OpenMP's own: BLAS stays on the thread that calls it.
void hold_blas_to_one_thread() { openblas_set_num_threads(1); }

/// max|a|, or NaN if a number is not finite.
float largest_magnitude(MatrixView<const float> a) {
  float largest = 0;
  bool finite = true;
  for (index_t i = 0; i < a.rows; ++i) {
    for (index_t j = 0; j < a.cols; ++j) {
      const float magnitude = std::fabs(a(i, j));
      finite = finite && magnitude <= std::numeric_limits<float>::max();
      largest = std::max(largest, magnitude);
    }
  }
  return finite ? largest : std::numeric_limits<float>::quiet_NaN();
}

/// Copies scale * a; in double, because the scale of a tile of subnormals is no float.
void copy_scaled(MatrixView<const float> a, double scale, float* to) {
  for (index_t i = 0; i < a.rows; ++i) {
    for (index_t j = 0; j < a.cols; ++j) to[i * a.cols + j] = static_cast<float>(a(i, j) * scale);
  }
}

void set_unit_vectors(MatrixView<float> x) {
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < x.cols; ++j) x(i, j) = i == j ? 1.0f : 0.0f;
  }
}

void copy_rows(const float* from, MatrixView<float> to) {
  for (index_t i = 0; i < to.rows; ++i) {
    std::memcpy(to.row(i), from + i * to.cols, static_cast<std::size_t>(to.cols) * sizeof(float));
  }
}

/// Factorizes the tile scaled by `scale` into the workspace; whether it converged.
bool factorize(MatrixView<const float> tile, double scale, WorkLengths lengths, Workspace& space) {
  const auto m = static_cast<lapack_int>(tile.cols);
  const auto n = static_cast<lapack_int>(tile.rows);
  const lapack_int r = std::min(m, n);
  copy_scaled(tile, scale, space.a.data());
  lapack_int info =
      LAPACKE_sgesdd_work(LAPACK_COL_MAJOR, 'S', m, n, space.a.data(), m, space.sigma.data(), space.vt.data(), m,
                          space.u.data(), r, space.work.data(), lengths.divide_and_conquer, space.iwork.data());
  if (info == 0) return true;
  copy_scaled(tile, scale, space.a.data());
  info = LAPACKE_sgesvd_work(LAPACK_COL_MAJOR, 'S', 'S', m, n, space.a.data(), m, space.sigma.data(), space.vt.data(),
                             m, space.u.data(), r, space.work.data(), lengths.qr_iteration);
  return info == 0;
}

SvdStatus factorize_one(MatrixView<const float> tile, WorkLengths lengths, Workspace& space,
                        const TileSvd<Device::cpu>& out) {
  const index_t r = std::min(tile.rows, tile.cols);
  const float largest = largest_magnitude(tile);
  if (std::isnan(largest)) return SvdStatus::not_finite;
  if (largest == 0) {
    set_unit_vectors(out.u);
    set_unit_vectors(out.vt);
    std::fill_n(out.sigma, r, 0.0f);
    return SvdStatus::ok;
  }
  const int exponent = std::ilogb(largest);
  if (!factorize(tile, std::ldexp(1.0, -exponent), lengths, space)) return SvdStatus::not_converged;
  const double unscale = std::ldexp(1.0, exponent);
  if (space.sigma.data()[0] * unscale > std::numeric_limits<float>::max()) return SvdStatus::not_finite;
  for (index_t i = 0; i < r; ++i) out.sigma[i] = static_cast<float>(space.sigma.data()[i] * unscale);
  copy_rows(space.u.data(), out.u);
  copy_rows(space.vt.data(), out.vt);
  return SvdStatus::ok;
}

int threads_for(const Queue<Device::cpu>& queue, std::size_t tiles) {
  return static_cast<int>(std::min(static_cast<std::size_t>(queue.threads()), tiles));
}

}  // namespace

template <>
void tile_svd<Device::cpu>(Queue<Device::cpu>& queue, std::span<const MatrixView<const float>> tiles,
                           std::span<TileSvd<Device::cpu>> out) {
  HACK_EXPECT(tiles.size() == out.size());
  if (tiles.empty()) return;
  hold_blas_to_one_thread();

  std::map<Shape, WorkLengths> lengths;
  index_t area = 0, rank = 0, u_size = 0, vt_size = 0, work_size = 0;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const index_t h = tiles[t].rows;
    const index_t w = tiles[t].cols;
    const index_t r = std::min(h, w);
    HACK_EXPECT(r > 0 && out[t].u.rows == h && out[t].u.cols == r && out[t].vt.rows == r && out[t].vt.cols == w);
    const auto [entry, is_first] = lengths.try_emplace({h, w});
    if (!is_first) continue;
    entry->second = work_lengths({h, w});
    area = std::max(area, h * w);
    rank = std::max(rank, r);
    u_size = std::max(u_size, h * r);
    vt_size = std::max(vt_size, r * w);
    work_size = std::max<index_t>({work_size, entry->second.divide_and_conquer, entry->second.qr_iteration});
  }

  // An exception must not leave a parallel region: everything that may fail is allocated before it.
  const int threads = threads_for(queue, tiles.size());
  std::vector<Workspace> spaces;
  for (int t = 0; t < threads; ++t) spaces.emplace_back(area, rank, u_size, vt_size, work_size);

#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    Workspace& space = spaces[static_cast<std::size_t>(omp_get_thread_num())];
    const WorkLengths& shape_lengths = lengths.find({tiles[t].rows, tiles[t].cols})->second;
    out[t].status = factorize_one(tiles[t], shape_lengths, space, out[t]);
  }
}

template <>
void tile_product<Device::cpu>(Queue<Device::cpu>& queue, std::span<const TileSvd<Device::cpu>> tiles,
                               std::span<const index_t> ranks, std::span<const MatrixView<float>> out) {
  HACK_EXPECT(tiles.size() == ranks.size() && tiles.size() == out.size());
  if (tiles.empty()) return;
  hold_blas_to_one_thread();

  index_t largest = 0;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    HACK_EXPECT(ranks[t] >= 0 && ranks[t] <= tiles[t].u.cols);
    HACK_EXPECT(out[t].rows == tiles[t].u.rows && out[t].cols == tiles[t].vt.cols);
    largest = std::max(largest, tiles[t].u.rows * ranks[t]);
  }
  const int threads = threads_for(queue, tiles.size());
  std::vector<Buffer<float>> scaled;  // per thread: U_k diag(sigma_k) (h, k)
  for (int t = 0; t < threads; ++t) scaled.emplace_back(largest);

#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    float* us = scaled[static_cast<std::size_t>(omp_get_thread_num())].data();
    const TileSvd<Device::cpu>& svd = tiles[t];
    const index_t h = svd.u.rows;
    const index_t w = svd.vt.cols;
    const index_t k = ranks[t];
    for (index_t i = 0; i < h; ++i) {
      for (index_t l = 0; l < k; ++l) us[i * k + l] = svd.u(i, l) * svd.sigma[l];
    }
    // With k = 0, BLAS only clears the result; its leading dimension must be 1 all the same.
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<blasint>(h), static_cast<blasint>(w),
                static_cast<blasint>(k), 1.0f, us, static_cast<blasint>(std::max<index_t>(k, 1)), svd.vt.data,
                static_cast<blasint>(svd.vt.ld), 0.0f, out[t].data, static_cast<blasint>(out[t].ld));
  }
}

}  // namespace hack::kernels
