#include "kernels/interpolative.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include <cblas.h>
#include <lapacke.h>
#include <omp.h>

#include "kernels/buffer.hpp"

namespace hack::kernels {
namespace {

using Tile = InterpolativeTile<Device::cpu>;
using Matrix = MatrixView<double>;

/// A work length of dgeqp3 that allows its blocked algorithm. It depends on h alone, so that the bits do not depend on
/// the batch.
index_t qr_work(index_t h) { return 2 * h + (h + 1) * 32; }

/// Working memory of one thread for the largest tile of a batch, aligned.
struct Workspace {
  Buffer<double> u;          // (h, k)
  Buffer<double> tau;        // (k)
  Buffer<double> work;       // (qr_work(h))
  Buffer<lapack_int> order;  // (h) skeleton rows, then other rows
  Buffer<index_t> sorted;    // (h)
  Buffer<double> left;       // (k, k) rows of U diag(sigma)
  Buffer<double> vt;         // (k, w)
  Buffer<double> product;    // (k, w)

  /// Grows what is too small for the tile.
  void fit(const Tile& tile) {
    const index_t h = tile.u.rows, k = tile.u.cols, w = tile.vt.cols;
    const auto grow = [](auto& buffer, index_t size) {
      if (buffer.size() < size) buffer = std::remove_reference_t<decltype(buffer)>(size);
    };
    grow(u, h * k);
    grow(tau, k);
    grow(work, qr_work(h));
    grow(order, h);
    grow(sorted, h);
    grow(left, k * k);
    grow(vt, k * w);
    grow(product, k * w);
  }
};

/// Copies to double; returns whether all numbers are finite.
bool widen(MatrixView<const float> from, double* to) {
  bool finite = true;
  for (index_t i = 0; i < from.rows; ++i) {
    for (index_t j = 0; j < from.cols; ++j) {
      to[i * from.cols + j] = from(i, j);
      finite = finite && std::fabs(from(i, j)) <= std::numeric_limits<float>::max();
    }
  }
  return finite;
}

/// Rounds to f32; returns whether the result is finite.
bool narrow(double x, float& to) {
  to = static_cast<float>(x);
  return std::fabs(to) <= std::numeric_limits<float>::max();
}

/// Orders the rows of U (h, k), skeleton rows first, and writes the coefficients (h - k, k) of the other rows to
/// space.u from row k on. Row-major U is column-major Uᵀ, so that nothing is transposed: Uᵀ P = Q [R_I R_J] by QR with
/// column pivoting (Businger and Golub 1965), C = U_J U_I⁻¹ = (R_I⁻¹ R_J)ᵀ, and the column-major R_I⁻¹ R_J is C row by
/// row.
void find_coefficients(index_t h, index_t k, Workspace& space) {
  const auto m = static_cast<lapack_int>(k);
  double* r = space.u.data();
  std::fill_n(space.order.data(), h, 0);  // no row is chosen beforehand
  LAPACKE_dgeqp3_work(LAPACK_COL_MAJOR, m, static_cast<lapack_int>(h), r, m, space.order.data(), space.tau.data(),
                      space.work.data(), static_cast<lapack_int>(qr_work(h)));
  for (index_t i = 0; i < h; ++i) --space.order.data()[i];
  // Dependent columns of U leave nothing in the last rows of R: the other rows have no part in the last skeleton rows,
  // and their coefficients there are zero.
  const double negligible = static_cast<double>(h) * std::numeric_limits<double>::epsilon() * std::fabs(r[0]);
  index_t rank = 0;
  while (rank < k && std::fabs(r[rank * k + rank]) > negligible) ++rank;
  double* c = r + k * k;
  if (rank > 0 && h > k) {
    cblas_dtrsm(CblasColMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, static_cast<blasint>(rank),
                static_cast<blasint>(h - k), 1.0, r, m, c, m);
  }
  for (index_t j = 0; j < h - k; ++j) std::fill(c + j * k + rank, c + (j + 1) * k, 0.0);
}

/// Makes row a of the others the skeleton row b, and skeleton row b the row a of the others: the principal pivot
/// transform of C on the number (a, b) (Tucker 1960). From row_a = Σ_l c(a, l) skeleton_l it solves for skeleton_b and
/// puts that into the other rows; no number of U is needed.
void exchange(Matrix c, index_t a, index_t b) {
  const double inverse = 1.0 / c(a, b);
  double* row = c.row(a);
  for (index_t l = 0; l < c.cols; ++l) row[l] *= -inverse;
  row[b] = inverse;
  for (index_t i = 0; i < c.rows; ++i) {
    if (i == a) continue;
    const double factor = std::exchange(c(i, b), 0.0);
    for (index_t l = 0; l < c.cols; ++l) c(i, l) += factor * row[l];
  }
}

/// Exchanges rows until no coefficient is too large (Gu and Eisenstat 1996). Each exchange multiplies |det U_I| by
/// |c(a, b)| > largest_coefficient, and |det U_I| is bounded over all choices of skeleton rows: the loop ends. The
/// largest coefficient goes first, which takes the fewest exchanges in practice; after column pivoting there are few.
void bound_coefficients(Matrix c, lapack_int* order) {
  for (;;) {
    index_t largest = 0;
    for (index_t n = 1; n < c.rows * c.cols; ++n) {
      if (std::fabs(c.data[n]) > std::fabs(c.data[largest])) largest = n;
    }
    if (c.rows * c.cols == 0 || !(std::fabs(c.data[largest]) > largest_coefficient)) return;
    const index_t a = largest / c.cols, b = largest % c.cols;
    exchange(c, a, b);
    std::swap(order[c.cols + a], order[b]);
  }
}

/// Writes marks and coefficients with rows from top to bottom; false where one is not finite.
bool write_coefficients(Matrix c, Workspace& space, Tile& tile) {
  const index_t h = tile.u.rows, k = tile.u.cols;
  const lapack_int* order = space.order.data();
  index_t* sorted = space.sorted.data();
  std::iota(sorted, sorted + h, index_t{0});
  const auto by_row = [&](index_t x, index_t y) { return order[x] < order[y]; };
  std::sort(sorted, sorted + k, by_row);
  std::sort(sorted + k, sorted + h, by_row);
  std::fill_n(tile.marks, mark_bytes(h), std::uint8_t{0});
  for (index_t l = 0; l < k; ++l) mark(tile.marks, order[sorted[l]]);
  bool finite = true;
  tile.growth = 0;
  for (index_t i = 0; i < h - k; ++i) {
    for (index_t l = 0; l < k; ++l) {
      finite = narrow(c(sorted[k + i] - k, sorted[l]), tile.coefficients(i, l)) && finite;
      tile.growth = std::max(tile.growth, std::fabs(tile.coefficients(i, l)));
    }
  }
  return finite;
}

/// Writes the skeleton rows of U diag(sigma) Vᵀ; false where a number is not finite.
bool write_skeleton(Workspace& space, Tile& tile) {
  const index_t k = tile.u.cols, w = tile.vt.cols;
  bool finite = widen(tile.vt, space.vt.data());
  for (index_t i = 0; i < k; ++i) {
    const float* row = tile.u.row(space.order.data()[space.sorted.data()[i]]);
    for (index_t l = 0; l < k; ++l) space.left.data()[i * k + l] = static_cast<double>(row[l]) * tile.sigma[l];
  }
  const auto rank = static_cast<blasint>(k), width = static_cast<blasint>(w);
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rank, width, rank, 1.0, space.left.data(), rank,
              space.vt.data(), width, 0.0, space.product.data(), width);
  for (index_t i = 0; i < k; ++i) {
    for (index_t j = 0; j < w; ++j) finite = narrow(space.product.data()[i * w + j], tile.skeleton(i, j)) && finite;
  }
  return finite;
}

InterpolativeStatus interpolate_one(Workspace& space, Tile& tile) {
  const index_t h = tile.u.rows, k = tile.u.cols;
  if (k == 0) {
    std::fill_n(tile.marks, mark_bytes(h), std::uint8_t{0});
    tile.growth = 0;
    return InterpolativeStatus::ok;
  }
  if (!widen(tile.u, space.u.data())) return InterpolativeStatus::not_finite;
  find_coefficients(h, k, space);
  const Matrix c{space.u.data() + k * k, h - k, k};
  bound_coefficients(c, space.order.data());
  const bool finite = write_coefficients(c, space, tile);
  return write_skeleton(space, tile) && finite ? InterpolativeStatus::ok : InterpolativeStatus::not_finite;
}

}  // namespace

template <>
index_t interpolation_bytes<Device::cpu>(index_t h, index_t w, index_t k) {
  return 8 * (h * k + qr_work(h) + k * k + 2 * k * w + 3 * h);
}

template <>
void interpolate_tiles<Device::cpu>(Queue<Device::cpu>& queue, std::span<Tile> tiles) {
  if (tiles.empty()) return;
  openblas_set_num_threads(1);  // the program's threads are OpenMP's own
  // An exception must not leave a parallel region: everything that may fail is allocated before it.
  const int threads = static_cast<int>(std::min(static_cast<std::size_t>(queue.threads()), tiles.size()));
  std::vector<Workspace> spaces(static_cast<std::size_t>(threads));
  for (const Tile& tile : tiles) {
    const index_t h = tile.u.rows, k = tile.u.cols;
    HACK_EXPECT(h > 0 && k <= h && tile.vt.rows == k && tile.skeleton.rows == k && tile.skeleton.cols == tile.vt.cols);
    HACK_EXPECT(tile.coefficients.rows == h - k && tile.coefficients.cols == k);
    for (Workspace& space : spaces) space.fit(tile);
  }
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (Tile& tile : tiles) tile.status = interpolate_one(spaces[static_cast<std::size_t>(omp_get_thread_num())], tile);
}

}  // namespace hack::kernels
