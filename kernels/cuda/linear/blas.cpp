// Matrix products by cuBLASLt.

#include <algorithm>
#include <array>
#include <compare>
#include <map>
#include <optional>
#include <utility>

#include "kernels/cuda/linear/blas_error.hpp"
#include "kernels/cuda/memory/error.hpp"
#include "kernels/cuda/memory/resources.hpp"

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

/// What a product is for the library.
struct Shape {
  cudaDataType_t type;
  cublasComputeType_t compute;
  std::array<index_t, 6> sizes;  // of x, w and y: columns and rows; leading dimensions
  std::array<std::uint32_t, 3> alignments;

  auto operator<=>(const Shape&) const = default;
};

/// The algorithm that the library advises, if it has one; it is asked once for each shape.
std::optional<cublasLtMatmulAlgo_t> advised(cublasLtHandle_t blas, const Shape& shape, cublasLtMatmulDesc_t operation,
                                            cublasLtMatrixLayout_t w, cublasLtMatrixLayout_t x,
                                            cublasLtMatrixLayout_t y) {
  thread_local std::map<std::pair<cublasLtHandle_t, Shape>, std::optional<cublasLtMatmulAlgo_t>> known;
  const auto found = known.find({blas, shape});
  if (found != known.end()) return found->second;
  Preference preference;
  HACK_BLAS(cublasLtMatmulPreferenceCreate(preference.address()));
  HACK_BLAS(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes,
                                                 sizeof(workspace_bytes)));
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.alignments[0]);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.alignments[1]);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.alignments[2]);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.alignments[2]);
  cublasLtMatmulHeuristicResult_t result{};
  int count = 0;
  const cublasStatus_t code =
      cublasLtMatmulAlgoGetHeuristic(blas, operation, w, x, y, y, preference, 1, &result, &count);
  if (code != CUBLAS_STATUS_NOT_SUPPORTED) HACK_BLAS(code);
  auto& kept = known[{blas, shape}];
  if (code == CUBLAS_STATUS_SUCCESS && count > 0) kept = result.algo;
  return kept;
}

}  // namespace

// Column by column: yᵀ (out, tokens) = w (out, in) xᵀ (in, tokens), and what lies in memory is wᵀ, xᵀ and yᵀ.
template <class T>
bool library_product(Queue<Device::cuda>& queue, Array<const T> x, Array<const T> w, Array<float> y, bool add,
                     bool rounds) {
  Operation operation;
  const cublasComputeType_t compute = rounds ? CUBLAS_COMPUTE_32F_FAST_16BF : CUBLAS_COMPUTE_32F;
  HACK_BLAS(cublasLtMatmulDescCreate(operation.address(), compute, CUDA_R_32F));
  const cublasOperation_t transposed = CUBLAS_OP_T;
  HACK_BLAS(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)));
  Layout of_w, of_x, of_y;
  describe(of_w, w);
  describe(of_x, x);
  describe(of_y, y);
  const auto blas = static_cast<cublasLtHandle_t>(queue.resources().blas());
  const Shape shape{type_of<T>(),
                    compute,
                    {x.cols, x.rows, w.rows, x.ld, w.ld, y.ld},
                    {alignment_of(w.data), alignment_of(x.data), alignment_of(y.data)}};
  const std::optional<cublasLtMatmulAlgo_t> algorithm = advised(blas, shape, operation, of_w, of_x, of_y);
  if (!algorithm) return false;
  const float alpha = 1, beta = add ? 1 : 0;
  auto* workspace = queue.resources().workspace<std::byte>(Workspace::library, workspace_bytes);
  HACK_BLAS(cublasLtMatmul(blas, operation, &alpha, w.data, of_w, x.data, of_x, &beta, y.data, of_y, y.data, of_y,
                           &*algorithm, workspace, workspace_bytes,
                           static_cast<cudaStream_t>(queue.resources().stream())));
  return true;
}

template bool library_product(Queue<Device::cuda>&, Array<const float>, Array<const float>, Array<float>, bool, bool);
template bool library_product(Queue<Device::cuda>&, Array<const bf16>, Array<const bf16>, Array<float>, bool, bool);
template bool library_product(Queue<Device::cuda>&, Array<const f16>, Array<const f16>, Array<float>, bool, bool);

}  // namespace hack::kernels::cuda
