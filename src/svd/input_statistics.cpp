#include "svd/input_statistics.hpp"

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "kernels/gram.hpp"

namespace hack::svd {
namespace {

/// Writes √weight_t x_t, as large as x, and returns it.
MatrixView<const float> scale_rows(Queue<Device::cpu>& queue, MatrixView<const float> x, std::span<const float> weights,
                                   Buffer<float>& buffer) {
  if (buffer.size() < x.rows * x.cols) buffer = Buffer<float>(x.rows * x.cols);
  float* to = buffer.data();
#pragma omp parallel for schedule(static) num_threads(queue.threads())
  for (index_t t = 0; t < x.rows; ++t) {
    const float root = std::sqrt(weights[static_cast<std::size_t>(t)]);
    for (index_t j = 0; j < x.cols; ++j) to[t * x.cols + j] = root * x(t, j);
  }
  return {to, x.rows, x.cols};
}

index_t rows_of(Cross cross, index_t n, index_t outputs) {
  if (cross == Cross::none) return 0;
  return cross == Cross::inputs ? n : outputs;
}

}  // namespace

InputStatistics::InputStatistics(index_t n, Cross cross, index_t outputs)
    : n_(n), kind_(cross), cross_rows_(rows_of(cross, n, outputs)), h_(n * n), cross_(cross_rows_ * n) {
  std::fill_n(h_.data(), h_.size(), 0.0);
  std::fill_n(cross_.data(), cross_.size(), 0.0);
}

void InputStatistics::add(Queue<Device::cpu>& queue, MatrixView<const float> met, MatrixView<const float> dense,
                          std::span<const float> weights) {
  if (!weights.empty()) {
    HACK_EXPECT(std::ssize(weights) == met.rows);
    met = scale_rows(queue, met, weights, scaled_met_);
    if (kind_ != Cross::none) dense = scale_rows(queue, dense, weights, scaled_dense_);
  }
  kernels::add_gram<Device::cpu>(queue, met, MatrixView<double>(h_.data(), n_, n_));
  if (kind_ != Cross::none) {
    HACK_EXPECT(dense.cols == cross_rows_);
    kernels::add_outer_products<Device::cpu>(queue, dense, met, MatrixView<double>(cross_.data(), cross_rows_, n_));
  }
}

void InputStatistics::finish(const comm::Communicator& comm) {
  const MatrixView<double> h(h_.data(), n_, n_);
  for (index_t i = 0; i < n_; ++i) {
    for (index_t j = i + 1; j < n_; ++j) h(i, j) = h(j, i);
  }
  comm::all_reduce_sum(comm, std::span(h_.data(), static_cast<std::size_t>(h_.size())));
  comm::all_reduce_sum(comm, std::span(cross_.data(), static_cast<std::size_t>(cross_.size())));
}

std::vector<float> InputStatistics::packed() const {
  std::vector<float> lower;
  lower.reserve(static_cast<std::size_t>(packed_size(n_)));
  for (index_t i = 0; i < n_; ++i) {
    for (index_t j = 0; j <= i; ++j) lower.push_back(static_cast<float>(h()(i, j)));
  }
  return lower;
}

InputStatistics InputStatistics::from_packed(index_t n, std::span<const float> lower) {
  HACK_EXPECT(std::ssize(lower) == packed_size(n));
  InputStatistics statistics(n);
  const MatrixView<double> h(statistics.h_.data(), n, n);
  const float* next = lower.data();
  for (index_t i = 0; i < n; ++i) {
    for (index_t j = 0; j <= i; ++j) h(i, j) = h(j, i) = *next++;
  }
  return statistics;
}

}  // namespace hack::svd
