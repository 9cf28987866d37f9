#include "svd/fit/input_sums.hpp"

#include <cmath>
#include <utility>
#include <vector>

#include "comm/collectives.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/error.hpp"
#include "kernels/gradient.hpp"
#include "kernels/gram.hpp"
#include "kernels/host_view.hpp"

namespace hack::svd {
namespace {

index_t rows_of(Cross cross, index_t n, index_t outputs) {
  if (cross == Cross::none) return 0;
  return cross == Cross::inputs ? n : outputs;
}

/// x = 0: bytes of zero in either type.
template <Device D>
void clear(Queue<D>& queue, Buffer<double, D>& x) {
  if (x.size() > 0) kernels::clear<D>(queue, {reinterpret_cast<float*>(x.data()), 1, 2 * x.size()});
}

}  // namespace

template <Device D>
InputSums<D>::InputSums(Queue<D>& queue, index_t n, Cross kind, index_t outputs)
    : queue_(queue), n_(n), kind_(kind), cross_rows_(rows_of(kind, n, outputs)), h_(n * n), cross_(cross_rows_ * n) {
  clear<D>(queue, h_);
  clear<D>(queue, cross_);
}

/// √w x, as the weighted error -√w (0 - x) of outputs that are all zero.
template <Device D>
MatrixView<const float, D> InputSums<D>::scale(MatrixView<const float, D> x, Buffer<float, D>& scaled) {
  if (scaled.size() < x.rows * x.cols) scaled = Buffer<float, D>(x.rows * x.cols);
  const MatrixView<float, D> y(scaled.data(), x.rows, x.cols);
  kernels::clear<D>(queue_, y);
  kernels::output_error<D>(queue_, x, roots_.data(), -1, y, squares_.data());
  return y;
}

template <Device D>
void InputSums<D>::add(MatrixView<const float, D> compressed, MatrixView<const float, D> dense,
                       std::span<const float> weights) {
  HACK_EXPECT(compressed.cols == n_ && (kind_ == Cross::none || dense.cols == cross_rows_));
  if (!weights.empty()) {
    HACK_EXPECT(std::ssize(weights) == compressed.rows);
    std::vector<float> roots;
    for (const float weight : weights) roots.push_back(std::sqrt(weight));
    queue_.wait();  // the weights before have been read
    roots_ = to_device<D>(roots.data(), std::ssize(roots));
    if (squares_.size() < compressed.rows) squares_ = Buffer<float, D>(compressed.rows);
    compressed = scale(compressed, scaled_compressed_);
    if (kind_ != Cross::none) dense = scale(dense, scaled_dense_);
  }
  kernels::add_gram<D>(queue_, compressed, {h_.data(), n_, n_});
  if (kind_ != Cross::none) kernels::add_outer_products<D>(queue_, dense, compressed, {cross_.data(), cross_rows_, n_});
}

template <Device D>
InputStatistics InputSums<D>::finish(const comm::Communicator& comm) {
  Buffer<double> lower = to_host(queue_, std::move(h_));
  Buffer<double> cross = to_host(queue_, std::move(cross_));
  const MatrixView<double> h(lower.data(), n_, n_);
  for (index_t i = 0; i < n_; ++i) {
    for (index_t j = i + 1; j < n_; ++j) h(i, j) = h(j, i);
  }
  for (Buffer<double>* sum : {&lower, &cross}) {
    comm::all_reduce_sum(comm, std::span(sum->data(), static_cast<std::size_t>(sum->size())));
  }
  return {n_, std::move(lower), kind_, std::move(cross)};
}

template class InputSums<Device::cpu>;
template class InputSums<Device::cuda>;

}  // namespace hack::svd
