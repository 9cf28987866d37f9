#pragma once

#include <cstdint>
#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"
#include "kernels/row_marks.hpp"

namespace hack::kernels {

/// Bound on the coefficients of interpolative tiles: what rounding does to a skeleton row reaches no other row enlarged
/// by more.
constexpr double largest_coefficient = 2;

enum class InterpolativeStatus : std::uint8_t {
  ok,
  not_finite  ///< NaN or infinity in the factors, or in their product
};

/// A tile U diag(sigma) Vᵀ (h, w) of rank k and where its interpolative form goes. The views are the caller's memory.
template <Device D>
struct InterpolativeTile {
  MatrixView<const float, D> u;       // (h, k)
  const float* sigma = nullptr;       // (k)
  MatrixView<const float, D> vt;      // (k, w)
  std::uint8_t* marks = nullptr;      // (mark_bytes(h)) whether a row is a skeleton row
  MatrixView<float, D> skeleton;      // (k, w) these rows of the tile, from top to bottom
  MatrixView<float, D> coefficients;  // (h - k, k) of the other rows in them, from top to bottom
  float growth = 0;                   ///< max |coefficient|
  InterpolativeStatus status = InterpolativeStatus::ok;
};

/// Rewrites tiles of rank k as k of their own rows and the other rows' coefficients in them: k(h + w - k) numbers in
/// place of k(h + w). With I the skeleton rows and J the other rows, C = U_J U_I⁻¹, in double; U diag(sigma) Vᵀ is C
/// times its rows I whatever sigma is, zeros included. Skeleton rows come from a QR of Uᵀ with column pivoting; while a
/// coefficient exceeds `largest_coefficient`, its row and its skeleton row change places (strong rank-revealing QR, Gu
/// and Eisenstat 1996), which enlarges |det U_I| by that factor and so comes to an end. Dependent columns of U are
/// allowed. A tile's bits depend on the tile alone: not on the batch, its place in it or the number of threads. On the
/// CPU: LAPACK's dgeqp3, one tile per thread.
template <Device D>
void interpolate_tiles(Queue<D>& queue, std::span<InterpolativeTile<D>> tiles);

/// What a tile (h, w) of rank k takes of D's memory while it is interpolative, in bytes: on the CPU of each thread, on
/// GPUs of each tile of a call.
template <Device D>
index_t interpolation_bytes(index_t h, index_t w, index_t k);

}  // namespace hack::kernels
