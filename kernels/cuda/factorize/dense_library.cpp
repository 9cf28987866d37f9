// Products by cuBLAS, Cholesky factors by cuSOLVER. Row-major memory of A is column-major Aᵀ: the libraries are called
// for the column-major reading, in which a lower triangle is the upper one.

#include "kernels/cuda/factorize/dense_library.hpp"

#include <cublas_v2.h>
#include <cusolverDn.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/cuda/linear/blas_error.hpp"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels::cuda {

namespace {

/// A matrix of this side or more fills a GPU by itself: the libraries' calls for one matrix are then faster than their
/// batched calls, which are made for many small matrices.
constexpr index_t large_side = 1024;

void check_solver(cusolverStatus_t code, const char* call, std::source_location at = std::source_location::current()) {
  if (code != CUSOLVER_STATUS_SUCCESS)
    fail("{} failed with code {} ({}:{})", call, static_cast<int>(code), at.file_name(), at.line());
}

#define HACK_SOLVER(call) check_solver((call), #call)

struct Handles {
  cublasHandle_t blas = nullptr;
  cusolverDnHandle_t solver = nullptr;
  cusolverDnParams_t parameters = nullptr;

  explicit Handles(cudaStream_t stream) {
    HACK_BLAS(cublasCreate(&blas));
    HACK_BLAS(cublasSetStream(blas, stream));
    HACK_SOLVER(cusolverDnCreate(&solver));
    HACK_SOLVER(cusolverDnSetStream(solver, stream));
    HACK_SOLVER(cusolverDnCreateParams(&parameters));
  }
  ~Handles() {
    if (parameters != nullptr) cusolverDnDestroyParams(parameters);
    if (solver != nullptr) cusolverDnDestroy(solver);
    if (blas != nullptr) cublasDestroy(blas);
  }
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;
};

/// The queue's, made at the first call.
Handles& handles_of(Queue<Device::cuda>& queue) {
  std::shared_ptr<void>& slot = queue.resources().dense_library();
  if (!slot) slot = std::make_shared<Handles>(static_cast<cudaStream_t>(queue.resources().stream()));
  return *static_cast<Handles*>(slot.get());
}

int as_int(index_t n) { return static_cast<int>(n); }
/// Leading dimensions are at least 1, of empty matrices too.
int leading(index_t ld) { return as_int(std::max<index_t>(ld, 1)); }
cublasOperation_t operation(bool turns) { return turns ? CUBLAS_OP_T : CUBLAS_OP_N; }

constexpr cudaDataType number_type = CUDA_R_64F;

#if CUSOLVER_VERSION >= 11701  // CUDA 12.6 Update 2

/// Batches of more have been reported to fail.
constexpr index_t most_members = 16 * 1024;

/// Eigenvalues, and vectors where the mode says so, of at most most_members matrices one behind another.
void solve_batch(Queue<Device::cuda>& queue, cusolverEigMode_t mode, index_t n, index_t count, double* matrices,
                 double* lambda, int* info) {
  const Handles& handles = handles_of(queue);
  std::size_t bytes = 0, host_bytes = 0;
  HACK_SOLVER(cusolverDnXsyevBatched_bufferSize(handles.solver, handles.parameters, mode, CUBLAS_FILL_MODE_UPPER, n,
                                                number_type, matrices, n, number_type, lambda, number_type, &bytes,
                                                &host_bytes, count));
  auto* space = queue.resources().workspace<std::byte>(Workspace::library, static_cast<index_t>(bytes));
  std::vector<std::byte> host_space(host_bytes);
  HACK_SOLVER(cusolverDnXsyevBatched(handles.solver, handles.parameters, mode, CUBLAS_FILL_MODE_UPPER, n, number_type,
                                     matrices, n, number_type, lambda, number_type, space, bytes, host_space.data(),
                                     host_bytes, info, count));
  queue.wait();  // the library may read the host's memory until it is done
}

#endif

/// Eigenvalues, and vectors where the mode says so, of one matrix, by divide and conquer.
void solve_one(Queue<Device::cuda>& queue, cusolverEigMode_t mode, index_t n, double* matrix, double* lambda,
               int* info) {
  const Handles& handles = handles_of(queue);
  std::size_t bytes = 0, host_bytes = 0;
  HACK_SOLVER(cusolverDnXsyevd_bufferSize(handles.solver, handles.parameters, mode, CUBLAS_FILL_MODE_UPPER, n,
                                          number_type, matrix, n, number_type, lambda, number_type, &bytes,
                                          &host_bytes));
  auto* space = queue.resources().workspace<std::byte>(Workspace::library, static_cast<index_t>(bytes));
  std::vector<std::byte> host_space(host_bytes);
  HACK_SOLVER(cusolverDnXsyevd(handles.solver, handles.parameters, mode, CUBLAS_FILL_MODE_UPPER, n, number_type, matrix,
                               n, number_type, lambda, number_type, space, bytes, host_space.data(), host_bytes, info));
  queue.wait();  // the library may read the host's memory until it is done
}

/// The same of matrices one behind another: small ones in batches where the library has such a call.
void solve_all(Queue<Device::cuda>& queue, cusolverEigMode_t mode, index_t n, index_t count, double* matrices,
               double* lambda, int* info) {
#if CUSOLVER_VERSION >= 11701
  if (n < large_side || mode == CUSOLVER_EIG_MODE_NOVECTOR) {
    for (index_t t = 0; t < count; t += most_members) {
      const index_t members = std::min(most_members, count - t);
      solve_batch(queue, mode, n, members, matrices + t * n * n, lambda + t * n, info + t);
    }
    return;
  }
#endif
  for (index_t t = 0; t < count; ++t) solve_one(queue, mode, n, matrices + t * n * n, lambda + t * n, info + t);
}

}  // namespace

void library_multiply(Queue<Device::cuda>& queue, double alpha, double beta, std::span<const ProductGroup> groups,
                      const ProductArrays& host, const ProductArrays& device) {
  const cublasHandle_t blas = handles_of(queue).blas;
  for (const auto& [shape, first, count] : groups) {
    // cᵀ = op(b)ᵀ op(a)ᵀ
    const auto op_a = operation(shape.turns_a), op_b = operation(shape.turns_b);
    const int m = as_int(shape.n), n = as_int(shape.m), k = as_int(shape.k);
    const int lda = leading(shape.ldb), ldb = leading(shape.lda), ldc = leading(shape.ldc);
    if (count == 1) {
      HACK_BLAS(cublasDgemm(blas, op_b, op_a, m, n, k, &alpha, host.b[first], lda, host.a[first], ldb, &beta,
                            host.c[first], ldc));
    } else {
      HACK_BLAS(cublasDgemmBatched(blas, op_b, op_a, m, n, k, &alpha, device.b + first, lda, device.a + first, ldb,
                                   &beta, device.c + first, ldc, as_int(count)));
    }
  }
}

void library_cholesky(Queue<Device::cuda>& queue, const SquareArrays& a, int* info) {
  const cusolverDnHandle_t solver = handles_of(queue).solver;
  const int n = as_int(a.n), ld = leading(a.ld);
  if (a.count > 1 && a.n < large_side) {
    HACK_SOLVER(cusolverDnDpotrfBatched(solver, CUBLAS_FILL_MODE_UPPER, n, const_cast<double**>(a.device), ld, info,
                                        as_int(a.count)));
    return;
  }
  int numbers = 0;
  HACK_SOLVER(cusolverDnDpotrf_bufferSize(solver, CUBLAS_FILL_MODE_UPPER, n, a.host[0], ld, &numbers));
  double* space = queue.resources().workspace<double>(Workspace::library, numbers);
  for (index_t t = 0; t < a.count; ++t) {
    HACK_SOLVER(cusolverDnDpotrf(solver, CUBLAS_FILL_MODE_UPPER, n, a.host[t], ld, space, numbers, info + t));
  }
}

void library_solve(Queue<Device::cuda>& queue, const SquareArrays& l, const RightSides& x) {
  const cublasHandle_t blas = handles_of(queue).blas;
  const double one = 1;
  const int n = as_int(l.n), columns = as_int(x.rows), l_ld = leading(l.ld), x_ld = leading(x.ld);
  // With U = Lᵀ as it is read, a⁻¹ xᵀ = U⁻¹ U⁻ᵀ xᵀ.
  for (const cublasOperation_t turn : {CUBLAS_OP_T, CUBLAS_OP_N}) {
    if (l.count > 1 && l.n < large_side) {
      HACK_BLAS(cublasDtrsmBatched(blas, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_UPPER, turn, CUBLAS_DIAG_NON_UNIT, n,
                                   columns, &one, l.device, l_ld, x.device, x_ld, as_int(l.count)));
      continue;
    }
    for (index_t t = 0; t < l.count; ++t) {
      HACK_BLAS(cublasDtrsm(blas, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_UPPER, turn, CUBLAS_DIAG_NON_UNIT, n, columns,
                            &one, l.host[t], l_ld, x.host[t], x_ld));
    }
  }
}

void library_eigenvalues(Queue<Device::cuda>& queue, index_t n, index_t count, double* matrices, double* lambda,
                         int* info) {
  solve_all(queue, CUSOLVER_EIG_MODE_NOVECTOR, n, count, matrices, lambda, info);
}

void library_eigenvectors(Queue<Device::cuda>& queue, index_t n, index_t count, double* matrices, double* lambda,
                          int* info) {
  solve_all(queue, CUSOLVER_EIG_MODE_VECTOR, n, count, matrices, lambda, info);
}

}  // namespace hack::kernels::cuda
