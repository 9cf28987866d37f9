#include "svd/fit/weighted_error.hpp"

#include <algorithm>
#include <vector>

#include "kernels/batched_algebra.hpp"
#include "kernels/buffer.hpp"
#include "kernels/device_view.hpp"
#include "kernels/error.hpp"
#include "kernels/host_view.hpp"

namespace hack::svd {
namespace {

/// Rows of one product: few, so that threads share the rows out, or as many as fill a GPU.
template <Device D>
constexpr index_t block_rows = D == Device::cpu ? 64 : 1024;

/// tr(X H Xᵀ), X = w, or w - approximation where there is one.
template <Device D>
double sum_over_rows(Queue<D>& queue, MatrixView<const float> w, const MatrixView<const float>* approximation,
                     MatrixView<const double, D> h) {
  const index_t n = h.cols;
  HACK_EXPECT(h.rows == n && w.cols == n && w.ld == n);
  HACK_EXPECT(approximation == nullptr || (approximation->rows == w.rows && approximation->ld == n));
  const index_t at_once = std::min(w.rows, block_rows<D> * (D == Device::cpu ? queue.threads() : 1));
  Buffer<double, D> errors(at_once * n), products(at_once * n), sums(at_once);
  double total = 0;
  for (index_t first = 0; first < w.rows; first += at_once) {
    const index_t size = std::min(at_once, w.rows - first);
    const DeviceView<float, D> values(w.row(first), size * n);
    const DeviceView<float, D> others(approximation == nullptr ? nullptr : approximation->row(first),
                                      approximation == nullptr ? 0 : size * n);
    std::vector<kernels::Block<float, double, D>> widened, subtracted;
    std::vector<kernels::Product<D>> weighted;
    for (index_t i = 0; i < size; i += block_rows<D>) {
      const index_t rows = std::min(block_rows<D>, size - i);
      const MatrixView<double, D> error(errors.data() + i * n, rows, n);
      widened.push_back({{values.data() + i * n, rows, n}, error});
      if (approximation != nullptr) subtracted.push_back({{others.data() + i * n, rows, n}, error});
      weighted.push_back({error, h, {products.data() + i * n, rows, n}});
    }
    kernels::combine<D, float, double>(queue, 1, 0, widened);
    kernels::combine<D, float, double>(queue, -1, 1, subtracted);
    kernels::multiply<D>(queue, 1, kernels::Transpose::no, kernels::Transpose::no, 0, weighted);
    kernels::row_products<D>(queue, {errors.data(), size, n}, {products.data(), size, n}, sums.data());
    const HostView<double, D> here(queue, sums.data(), size);
    for (const double sum : here.span()) total += sum;
  }
  return total;
}

}  // namespace

template <Device D>
double weighted_energy(Queue<D>& queue, MatrixView<const float> x, MatrixView<const double, D> h) {
  return sum_over_rows(queue, x, nullptr, h);
}

template <Device D>
double weighted_error(Queue<D>& queue, MatrixView<const float> w, MatrixView<const float> approximation,
                      MatrixView<const double, D> h) {
  return sum_over_rows(queue, w, &approximation, h);
}

#define HACK_INSTANTIATE(D)                                                                         \
  template double weighted_energy(Queue<D>&, MatrixView<const float>, MatrixView<const double, D>); \
  template double weighted_error(Queue<D>&, MatrixView<const float>, MatrixView<const float>,       \
                                 MatrixView<const double, D>);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)
#undef HACK_INSTANTIATE

}  // namespace hack::svd
