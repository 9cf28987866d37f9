#pragma once

#include <cstdint>
#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels {

// Dense algebra in double on batches of matrices in memory of D; a batch may mix shapes. On the CPU each matrix is the
// work of one thread, by BLAS and LAPACK: its bits depend on its own numbers and shape alone. On GPUs the matrices of
// one shape go to cuBLAS or cuSOLVER in one call, or to a kernel.

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

/// Rounds to f32 after scaling by a power of two to max|x| in [1, 2): the scale changes no singular vector, and neither
/// large nor small numbers leave the range of f32. NaN stays NaN; a block that holds infinity is not scaled.
template <Device D>
void round_scaled(Queue<D>& queue, std::span<const Block<double, float, D>> blocks);

/// Adds relative · (mean of the diagonal) to the diagonal; a (n, n).
template <Device D>
void damp(Queue<D>& queue, double relative, std::span<const MatrixView<double, D>> matrices);

/// Replaces the lower triangle of a (n, n) by L with a = L Lᵀ; numbers above the diagonal are not read. is_definite
/// (matrices) says which matrices were positive definite; the others are overwritten and of no use. Waits for the
/// queue.
template <Device D>
void cholesky(Queue<D>& queue, std::span<const MatrixView<double, D>> matrices, std::span<std::uint8_t> is_definite);

template <Device D>
struct CholeskySystem {
  MatrixView<const double, D> l;  // (n, n) cholesky()'s factor of a
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

/// Makes the rows of `right` orthonormal, right = T Q with T lower triangular, and multiplies `left` by T: the product
/// left right stays. A row that depends on earlier rows up to rounding becomes some other row of unit length (CPU) or
/// zero (GPU). On the CPU by Householder QR, on GPUs by Gram-Schmidt with every step done twice (Giraud, Langou,
/// Rozložník 2005). False where LAPACK failed.
template <Device D>
bool orthonormalize_rows(Queue<D>& queue, std::span<const FactorPair<D>> pairs);

/// Writes the eigenvalues of symmetric matrices, ascending, to `lambda` (count, n). Only the lower triangles of the
/// matrices (count, n, n) are read; all of each matrix is overwritten. has_converged (count) says whose iteration
/// ended; a matrix with NaN never does. Waits for the queue.
template <Device D>
void eigenvalues(Queue<D>& queue, index_t n, double* matrices, double* lambda, std::span<std::uint8_t> has_converged);

/// Writes the product of row i of a with row i of b, Σ_j a(i, j) b(i, j), to sums[i]; a and b (m, n), sums (m).
template <Device D>
void row_products(Queue<D>& queue, MatrixView<const double, D> a, MatrixView<const double, D> b, double* sums);

}  // namespace hack::kernels
