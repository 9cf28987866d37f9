#pragma once

#include "kernels/buffer.hpp"
#include "kernels/cpu/factorize/symmetric_reduction.hpp"

namespace hack::kernels {

/// Eigenvalues and eigenvectors of symmetric tridiagonal matrices T of order up to max_n on the calling thread:
/// diagonal d (n), e (n - 1) beside the diagonal. T is positive semidefinite up to rounding and the row sums of its
/// magnitudes are at most 1, so that the errors below are absolute. Bits depend on T alone. Nothing but the constructor
/// throws.
class TridiagonalEigen {
 public:
  explicit TridiagonalEigen(index_t max_n);

  /// All eigenvalues, descending, to about 1e-15: brackets from Sturm counts on a grid, bisection until each bracket
  /// holds one eigenvalue, then Laguerre's iteration inside it (cubic; Li and Zeng 1994), many eigenvalues side by side
  /// in SIMD lanes. False where an iteration does not end or the sum of the eigenvalues misses the trace.
  bool find_values(index_t n, const double* d, const double* e, double* lambda);

  /// One panel z (n, vector_panel) of unit eigenvectors of lambda (vector_panel), by twisted factorizations
  /// T - lambda = N D Nᵀ with the twist where |D| is least (Fernando 1997; Dhillon and Parlett 2004). Returns the
  /// residual √Σ ‖T z - lambda z‖²; vectors of eigenvalues `gap` apart are orthogonal to twice residual / gap.
  double find_vectors(index_t n, const double* d, const double* e, const double* lambda, double* z);

 private:
  /// Bounds of one eigenvalue, the numbers of eigenvalues below both bounds, and the point that is evaluated next.
  struct Bracket {
    double low, high;
    double below_low, below_high;
    double x;
    void bisect() { x = low + (high - low) / 2; }
  };
  struct Matrix {
    index_t n;
    const double* d;
    const double* square;
  };

  bool find_brackets(const Matrix& t, double bound);
  void run_round(const Matrix& t, bool isolated);

  Buffer<double> square_;         // (n) e_{i-1}²
  Buffer<double> grid_;           // (grid_size) points, then
  Buffer<double> below_;          // (grid_size) how many eigenvalues are below them
  Buffer<double> steps_;          // (2, vector_panel) Laguerre's steps to the left and to the right
  Buffer<double> multipliers_;    // (n, vector_panel)
  Buffer<Bracket> brackets_;      // (n)
  Buffer<index_t> pending_;       // (n) eigenvalues of a round
  Buffer<std::uint8_t> is_done_;  // (n)
};

}  // namespace hack::kernels
