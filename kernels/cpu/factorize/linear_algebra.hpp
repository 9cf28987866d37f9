#pragma once

#include <span>

#include "kernels/batched_algebra.hpp"
#include "kernels/matrix_view.hpp"

namespace hack::kernels {

// Dense algebra, in double unless its views are of f32, on the calling thread, for calibration statistics and the
// methods that use them. Bits depend on the shapes and numbers alone. Nothing here throws, so that every function may
// be called in a parallel region.

/// The program's threads are OpenMP's: BLAS stays on the thread that calls it. Called once before a parallel region
/// around the functions below.
void hold_blas_to_one_thread();

/// Computes c = alpha op(a) op(b) + beta c; op(a) (m, k), op(b) (k, n), c (m, n).
void multiply(double alpha, MatrixView<const double> a, Transpose op_a, MatrixView<const double> b, Transpose op_b,
              double beta, MatrixView<double> c);

/// Computes c = a b in f32; a (m, k), b (k, n), c (m, n).
void multiply(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> c);

/// Replaces x (m, n) by x l, or by x lᵀ; l (n, n) lower triangular, its upper triangle not read.
void multiply_triangular(MatrixView<double> x, MatrixView<const double> l, Transpose op_l);

/// Replaces the lower triangle of a (n, n) by L with a = L Lᵀ; the upper triangle is neither read nor written. False,
/// and a overwritten, where a is not positive definite.
bool cholesky(MatrixView<double> a);

/// Replaces x (m, n) by x a⁻¹, where `l` (n, n) is what cholesky() made of a.
void solve_cholesky(MatrixView<const double> l, MatrixView<double> x);

/// Writes a⁻¹ (n, n), both triangles, where `l` (n, n) is what cholesky() made of a.
void invert_cholesky(MatrixView<const double> l, MatrixView<double> inverse);

/// Writes the eigenvalues of symmetric a (n, n), ascending; only the lower triangle is read, all of a is overwritten.
/// False where they do not converge or a holds NaN.
bool eigenvalues(MatrixView<double> a, std::span<double> out);

/// Splits x (k, n), k <= n, into l q: `l` (k, k) becomes lower triangular, its upper triangle zero, and x the q with
/// orthonormal rows (QR of xᵀ). `tau` (k) is working memory. False where LAPACK had no memory or x holds NaN.
bool orthonormalize_rows(MatrixView<double> x, MatrixView<double> l, std::span<double> tau);

/// x (m, n), widened or rounded.
void copy(MatrixView<const float> from, MatrixView<double> to);
void copy(MatrixView<const double> from, MatrixView<float> to);
void copy(MatrixView<const double> from, MatrixView<double> to);

}  // namespace hack::kernels
