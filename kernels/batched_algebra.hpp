#pragma once

#include <cstdint>
#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

// Dense algebra in double on batches of matrices in memory of D, of any shapes in one batch. On the CPU a matrix a
// thread, by BLAS and LAPACK: its bits depend on its own numbers and shape alone. On GPUs by cuBLAS and cuSOLVER,
// matrices of one shape in one call, and by kernels.

enum class Transpose : std::uint8_t { no, yes };

template <Device D>
struct Product {
  MatrixView<const double, D> a;
  MatrixView<const double, D> b;
  MatrixView<double, D> c;
};

/// Computes c = alpha op(a) op(b) + beta c; op(a) (m, k), op(b) (k, n), c (m, n). With beta 0, c is only written.
template <Device D>
void multiply(Queue<D>& queue, double alpha, Transpose op_a, Transpose op_b, double beta,
              std::span<const Product<D>> products);

template <class From, class To, Device D>
struct Block {
  MatrixView<const From, D> from;
  MatrixView<To, D> to;
};

/// Computes to = alpha from + beta to, in double, then rounded to To; both (m, n). With beta 0, `to` is only written.
/// float to double, double to float, double to double.
template <Device D, class From, class To>
void combine(Queue<D>& queue, double alpha, double beta, std::span<const Block<From, To, D>> blocks);

/// Rounds to f32 after scaling by a power of two to max|x| in [1, 2): singular vectors stay what they are, and neither
/// large nor small numbers leave the range of f32. NaN stays NaN; what holds infinity is not scaled.
template <Device D>
void round_scaled(Queue<D>& queue, std::span<const Block<double, float, D>> blocks);

/// Adds relative · (mean of the diagonal) to the diagonal; a (n, n).
template <Device D>
void damp(Queue<D>& queue, double relative, std::span<const MatrixView<double, D>> matrices);

/// Replaces the lower triangle of a (n, n) by L with a = L Lᵀ; what is above is not read. is_definite (matrices) says
/// of each whether it was positive definite; it is overwritten where not. Waits for the queue.
template <Device D>
void cholesky(Queue<D>& queue, std::span<const MatrixView<double, D>> matrices, std::span<std::uint8_t> is_definite);

template <Device D>
struct CholeskySystem {
  MatrixView<const double, D> l;  // (n, n) what cholesky() made of a
  MatrixView<double, D> x;        // (m, n)
};

/// Replaces x by x a⁻¹.
template <Device D>
void solve_cholesky(Queue<D>& queue, std::span<const CholeskySystem<D>> systems);

template <Device D>
struct FactorPair {
  MatrixView<double, D> left;   // (h, k)
  MatrixView<double, D> right;  // (k, w), k <= w
};

/// Makes the rows of `right` orthonormal and moves what they lose into `left`: their product stays. Rows that depend on
/// those before them to rounding become others, or zero, as `left` has zeros there. False where LAPACK failed.
template <Device D>
bool orthonormalize_rows(Queue<D>& queue, std::span<const FactorPair<D>> pairs);

/// Writes the eigenvalues of symmetric matrices, ascending, to `lambda` (count, n); matrices (count, n, n) are read in
/// their lower triangles and overwritten. Says of each whether they converged, which they do not of NaN. Waits for the
/// queue.
template <Device D>
void eigenvalues(Queue<D>& queue, index_t n, double* matrices, double* lambda, std::span<std::uint8_t> has_converged);

/// Writes Σ_j a(i, j) b(i, j) of every row to sums (m); a and b (m, n).
template <Device D>
void row_products(Queue<D>& queue, MatrixView<const double, D> a, MatrixView<const double, D> b, double* sums);

}  // namespace hack::kernels
