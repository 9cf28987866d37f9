#pragma once

#include <compare>
#include <span>

#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"

namespace hack::kernels::cuda {

// What batched_algebra.cpp and gram_svd.cpp ask of cuBLAS and cuSOLVER. Shapes are row-major, as everywhere; arrays of
// addresses are there twice, on the host and in the device's memory.

/// c (m, n) = alpha op(a) (m, k) op(b) (k, n) + beta c.
struct ProductShape {
  index_t m = 0, n = 0, k = 0;
  bool turns_a = false, turns_b = false;
  index_t lda = 0, ldb = 0, ldc = 0;
  auto operator<=>(const ProductShape&) const = default;
};

/// Products of one shape, one after the other in the arrays.
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

/// x = x a⁻¹, L as above; x (rows, n).
struct RightSides {
  index_t rows = 0, ld = 0;
  double* const* host;
  double* const* device;
};
void library_solve(Queue<Device::cuda>& queue, const SquareArrays& l, const RightSides& x);

/// Eigenvalues, ascending, to lambda (count, n), of matrices (count, n, n) one behind the other, whose lower triangles
/// are read; info as above: 0 where they converged.
void library_eigenvalues(Queue<Device::cuda>& queue, index_t n, index_t count, double* matrices, double* lambda,
                         int* info);

/// The same, and the eigenvectors in the place of the matrices: of each, vector after vector in the order of lambda.
void library_eigenvectors(Queue<Device::cuda>& queue, index_t n, index_t count, double* matrices, double* lambda,
                          int* info);

}  // namespace hack::kernels::cuda
