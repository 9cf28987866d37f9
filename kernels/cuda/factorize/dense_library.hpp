#pragma once

#include <compare>
#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels::cuda {

// The calls of cuBLAS and cuSOLVER that batched_algebra.cpp and gram_svd.cpp make. Shapes are row-major, as everywhere;
// each array of addresses is given twice, on the host and in the device's memory.

/// c (m, n) = alpha op(a) (m, k) op(b) (k, n) + beta c.
struct ProductShape {
  index_t m = 0, n = 0, k = 0;
  bool turns_a = false, turns_b = false;
  index_t lda = 0, ldb = 0, ldc = 0;
  auto operator<=>(const ProductShape&) const = default;
};

/// Products of one shape, one after another in the arrays.
struct ProductGroup {
  ProductShape shape;
  index_t first = 0, count = 0;
};

struct ProductArrays {
  const double* const* a;
  const double* const* b;
  double* const* c;
};

void library_multiply(Queue<Device::cuda>& queue, double alpha, double beta, std::span<const ProductGroup> groups,
                      const ProductArrays& host, const ProductArrays& device);

/// Matrices (n, n) of one size.
struct SquareArrays {
  index_t n = 0, ld = 0, count = 0;
  double* const* host;
  double* const* device;
};

/// a = L Lᵀ in the lower triangles; info (count), in the device's memory: 0 where a was positive definite.
void library_cholesky(Queue<Device::cuda>& queue, const SquareArrays& a, int* info);

/// The right sides x (rows, n) of library_solve(), which computes x = x a⁻¹ with library_cholesky()'s factor of a.
struct RightSides {
  index_t rows = 0, ld = 0;
  double* const* host;
  double* const* device;
};
void library_solve(Queue<Device::cuda>& queue, const SquareArrays& l, const RightSides& x);

/// Writes eigenvalues, ascending, to lambda (count, n), of matrices (count, n, n) one behind another, of which only the
/// lower triangles are read; info (count), in the device's memory: 0 where they converged.
void library_eigenvalues(Queue<Device::cuda>& queue, index_t n, index_t count, double* matrices, double* lambda,
                         int* info);

/// Writes eigenvalues, and the eigenvectors in the place of the matrices: vector after vector in the order of lambda.
void library_eigenvectors(Queue<Device::cuda>& queue, index_t n, index_t count, double* matrices, double* lambda,
                          int* info);

}  // namespace hack::kernels::cuda
