#include "tests/gpu/library_svd.hpp"

#include <cublas_v2.h>
#include <cusolverDn.h>

#include "kernels/cuda/memory/error.hpp"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::tests {

namespace {

void check(int code, const char* call) {
  if (code != 0) fail("{} failed with code {}", call, code);
}

}  // namespace

struct LibrarySvd::Handles {
  cublasHandle_t blas = nullptr;
  cusolverDnHandle_t solver = nullptr;
  cusolverDnParams_t parameters = nullptr;

  ~Handles() {
    cusolverDnDestroyParams(parameters);
    cusolverDnDestroy(solver);
    cublasDestroy(blas);
  }
};

LibrarySvd::LibrarySvd(Queue<Device::cuda>& queue, index_t tiles, index_t h, index_t w)
    : queue_(queue),
      tiles_(tiles),
      h_(h),
      w_(w),
      squares_(tiles * w),
      vectors_(tiles * w * w),
      info_(tiles),
      handles_(std::make_unique<Handles>()) {
  HACK_EXPECT(h >= w && w > 0);
  const auto stream = static_cast<cudaStream_t>(queue.resources().stream());
  check(cublasCreate(&handles_->blas), "cublasCreate");
  check(cublasSetStream(handles_->blas, stream), "cublasSetStream");
  check(cusolverDnCreate(&handles_->solver), "cusolverDnCreate");
  check(cusolverDnSetStream(handles_->solver, stream), "cusolverDnSetStream");
  check(cusolverDnCreateParams(&handles_->parameters), "cusolverDnCreateParams");
  std::size_t bytes = 0, host_bytes = 0;
  check(cusolverDnXsyevBatched_bufferSize(handles_->solver, handles_->parameters, CUSOLVER_EIG_MODE_VECTOR,
                                          CUBLAS_FILL_MODE_LOWER, w, CUDA_R_32F, vectors_.data(), w, CUDA_R_32F,
                                          squares_.data(), CUDA_R_32F, &bytes, &host_bytes, tiles),
        "cusolverDnXsyevBatched_bufferSize");
  work_ = Buffer<std::byte, Device::cuda>(static_cast<index_t>(bytes));
  host_work_.resize(host_bytes);
}

LibrarySvd::~LibrarySvd() = default;

// Column by column a tile is Aᵀ (w, h), so its Gram matrix is this times its transpose.
void LibrarySvd::factorize(const float* tiles) {
  const float one = 1, zero = 0;
  const int w = static_cast<int>(w_), h = static_cast<int>(h_);
  check(cublasSgemmStridedBatched(handles_->blas, CUBLAS_OP_N, CUBLAS_OP_T, w, w, h, &one, tiles, w, h_ * w_, tiles, w,
                                  h_ * w_, &zero, vectors_.data(), w, w_ * w_, static_cast<int>(tiles_)),
        "cublasSgemmStridedBatched");
  check(cusolverDnXsyevBatched(handles_->solver, handles_->parameters, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER,
                               w_, CUDA_R_32F, vectors_.data(), w_, CUDA_R_32F, squares_.data(), CUDA_R_32F,
                               work_.data(), static_cast<std::size_t>(work_.size()), host_work_.data(),
                               host_work_.size(), info_.data(), tiles_),
        "cusolverDnXsyevBatched");
  queue_.wait();
}

}  // namespace hack::tests
