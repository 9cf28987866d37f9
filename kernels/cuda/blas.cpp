// Matrix products by cuBLASLt.

#include <algorithm>

#include "kernels/cuda/blas_error.hpp"
#include "kernels/cuda/error.hpp"
#include "kernels/cuda/resources.hpp"

namespace hack::kernels::cuda {

namespace {

constexpr std::size_t workspace_bytes = std::size_t{32} << 20;

/// Owns one of the library's descriptors.
template <class Handle, cublasStatus_t (*destroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  ~Owned() {
    if (handle_ != nullptr) destroy(handle_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Handle* address() { return &handle_; }
  operator Handle() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

using Operation = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

template <class T>
constexpr cudaDataType_t type_of() {
  if constexpr (std::is_same_v<T, bf16>) return CUDA_R_16BF;
  if constexpr (std::is_same_v<T, f16>) return CUDA_R_16F;
  return CUDA_R_32F;
}

/// Row-major (rows, cols) is column-major (cols, rows).
template <class T>
void describe(Layout& layout, const Array<T>& x) {
  HACK_BLAS(cublasLtMatrixLayoutCreate(layout.address(), type_of<std::remove_const_t<T>>(),
                                       static_cast<std::uint64_t>(x.cols), static_cast<std::uint64_t>(x.rows), x.ld));
}

/// The alignment of an address, as far as the library asks for it.
std::uint32_t alignment_of(const void* data) {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  return static_cast<std::uint32_t>(std::min<std::uintptr_t>(address & -address, 256));
}

void prefer(const Preference& preference, cublasLtMatmulPreferenceAttributes_t what, std::uint32_t value) {
  HACK_BLAS(cublasLtMatmulPreferenceSetAttribute(preference, what, &value, sizeof(value)));
}

}  // namespace

// Column by column: yᵀ (out, tokens) = w (out, in) xᵀ (in, tokens), and what lies in memory is wᵀ, xᵀ and yᵀ.
template <class T>
void library_product(Queue<Device::cuda>& queue, Array<const T> x, Array<const T> w, Array<float> y, bool add) {
  Operation operation;
  HACK_BLAS(cublasLtMatmulDescCreate(operation.address(), CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const cublasOperation_t transposed = CUBLAS_OP_T;
  HACK_BLAS(
      cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)));
  Layout of_w, of_x, of_y;
  describe(of_w, w);
  describe(of_x, x);
  describe(of_y, y);
  Preference preference;
  HACK_BLAS(cublasLtMatmulPreferenceCreate(preference.address()));
  HACK_BLAS(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                 &workspace_bytes, sizeof(workspace_bytes)));
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(w.data));
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(x.data));
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(y.data));
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(y.data));
  const auto blas = static_cast<cublasLtHandle_t>(queue.resources().blas());
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  HACK_BLAS(cublasLtMatmulAlgoGetHeuristic(blas, operation, of_w, of_x, of_y, of_y, preference, 1, &found, &count));
  validate(count > 0, "cuBLASLt has no product for {} × {} × {}", y.rows, y.cols, x.cols);
  const float alpha = 1, beta = add ? 1 : 0;
  auto* workspace = queue.resources().room<std::byte>(Purpose::library, workspace_bytes);
  HACK_BLAS(cublasLtMatmul(blas, operation, &alpha, w.data, of_w, x.data, of_x, &beta, y.data, of_y, y.data, of_y,
                           &found.algo, workspace, workspace_bytes,
                           static_cast<cudaStream_t>(queue.resources().stream())));
}

template void library_product(Queue<Device::cuda>&, Array<const float>, Array<const float>, Array<float>, bool);
template void library_product(Queue<Device::cuda>&, Array<const bf16>, Array<const bf16>, Array<float>, bool);
template void library_product(Queue<Device::cuda>&, Array<const f16>, Array<const f16>, Array<float>, bool);

}  // namespace hack::kernels::cuda
