#pragma once

#include <cstdint>
#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"
#include "kernels/row_marks.hpp"

namespace hack::kernels {

/// Bound on the magnitude of coefficients: an error in a skeleton row, of rounding for instance, reaches no other row
/// enlarged by more than this factor.
constexpr double largest_coefficient = 2;

enum class InterpolativeStatus : std::uint8_t {
  ok,
  not_finite  ///< NaN or infinity in the factors, or in their product
};

/// A tile U diag(sigma) Vᵀ (h, w) of rank k and the place of its interpolative form. The views are the caller's memory.
template <Device D>
struct InterpolativeTile {
  MatrixView<const float, D> u;       // (h, k)
  const float* sigma = nullptr;       // (k)
  MatrixView<const float, D> vt;      // (k, w)
  std::uint8_t* marks = nullptr;      // (mark_bytes(h)) whether a row is a skeleton row
  MatrixView<float, D> skeleton;      // (k, w) the skeleton rows of the tile, from top to bottom
  MatrixView<float, D> coefficients;  // (h - k, k) of the other rows in the skeleton rows, from top to bottom
  float growth = 0;                   ///< max |coefficient|
  InterpolativeStatus status = InterpolativeStatus::ok;
};

/// Row interpolative decomposition (Cheng, Gimbutas, Martinsson, Rokhlin 2005, "On the compression of low rank
/// matrices"): rewrites tiles of rank k as k of their own rows, the skeleton, and the coefficients of the other rows in
/// the skeleton. That is k(h + w - k) numbers in place of k(h + w), without loss; for language models the same form was
/// proposed as pivoting factorization, PIFA (2025, arXiv 2501.19090).
///
/// With I the skeleton rows and J the other rows, C = U_J U_I⁻¹, in double. Rows J of U diag(sigma) Vᵀ are C times its
/// rows I whatever sigma is, zeros included. Skeleton rows come from a QR of Uᵀ with column pivoting; while a
/// coefficient exceeds `largest_coefficient`, its row and its skeleton row change places (strong rank-revealing QR, Gu
/// and Eisenstat 1996). Each exchange enlarges |det U_I| by that coefficient, so the exchanges come to an end.
/// Dependent columns of U are allowed. The bits of a tile depend on the tile alone: not on the batch, its place in the
/// batch or the number of threads. On the CPU: LAPACK's dgeqp3, one tile per thread.
template <Device D>
void interpolate_tiles(Queue<D>& queue, std::span<InterpolativeTile<D>> tiles);

/// Bytes of D's memory that interpolate_tiles takes for a tile (h, w) of rank k: on the CPU for each thread, on GPUs
/// for each tile of a call.
template <Device D>
index_t interpolation_bytes(index_t h, index_t w, index_t k);

}  // namespace hack::kernels
