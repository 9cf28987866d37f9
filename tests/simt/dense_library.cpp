// What the emulated GPU has in the place of cuBLAS and cuSOLVER (kernels/cuda/dense_library.cpp): BLAS and LAPACK of
// the host. Addresses are taken from the device's arrays.

#include "tests/simt/dense_library.hpp"

#include "kernels/cuda/factorize/dense_library.hpp"

#include <algorithm>

#include <cblas.h>
#include <lapacke.h>

namespace hack::kernels::cuda {

namespace {

blasint as_int(index_t n) { return static_cast<blasint>(n); }
blasint leading(index_t ld) { return as_int(std::max<index_t>(ld, 1)); }
CBLAS_TRANSPOSE operation(bool turns) { return turns ? CblasTrans : CblasNoTrans; }

}  // namespace

void library_multiply(Queue<Device::cuda>&, double alpha, double beta, std::span<const ProductGroup> groups,
                      const ProductArrays&, const ProductArrays& device) {
  for (const auto& [shape, first, count] : groups) {
    for (index_t p = first; p < first + count; ++p) {
      cblas_dgemm(CblasRowMajor, operation(shape.turns_a), operation(shape.turns_b), as_int(shape.m), as_int(shape.n),
                  as_int(shape.k), alpha, device.a[p], leading(shape.lda), device.b[p], leading(shape.ldb), beta,
                  device.c[p], leading(shape.ldc));
    }
  }
}

void library_cholesky(Queue<Device::cuda>&, const SquareArrays& a, int* info) {
  for (index_t t = 0; t < a.count; ++t) {
    info[t] = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', as_int(a.n), a.device[t], leading(a.ld));
  }
}

void library_solve(Queue<Device::cuda>&, const SquareArrays& l, const RightSides& x) {
  for (index_t t = 0; t < l.count; ++t) {
    LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'U', as_int(l.n), as_int(x.rows), l.device[t], leading(l.ld), x.device[t],
                        leading(x.ld));
  }
}

void library_eigenvalues(Queue<Device::cuda>&, index_t n, index_t count, double* matrices, double* lambda, int* info) {
  for (index_t t = 0; t < count; ++t) {
    info[t] = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'N', 'U', as_int(n), matrices + t * n * n, leading(n), lambda + t * n);
  }
}

void library_eigenvectors(Queue<Device::cuda>&, index_t n, index_t count, double* matrices, double* lambda, int* info) {
  using simt::LibraryFault;
  for (index_t t = 0; t < count; ++t) {
    double* vectors = matrices + t * n * n;
    info[t] = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', as_int(n), vectors, leading(n), lambda + t * n);
    if (simt::library_fault == LibraryFault::not_converged) info[t] = 1;
    if (simt::library_fault == LibraryFault::wrong_vectors) vectors[n * n - 1] += 0.5;
  }
}

}  // namespace hack::kernels::cuda
