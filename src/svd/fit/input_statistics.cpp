#include "svd/fit/input_statistics.hpp"

#include <utility>

#include "kernels/error.hpp"

namespace hack::svd {

InputStatistics::InputStatistics(index_t n, Buffer<double> h, Cross kind, Buffer<double> cross)
    : n_(n), kind_(kind), h_(std::move(h)), cross_(std::move(cross)) {
  HACK_EXPECT(n > 0 && h_.size() == n * n && cross_.size() % n == 0 && (kind == Cross::none) == (cross_.size() == 0));
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
  Buffer<double> numbers(n * n);
  const MatrixView<double> h(numbers.data(), n, n);
  const float* next = lower.data();
  for (index_t i = 0; i < n; ++i) {
    for (index_t j = 0; j <= i; ++j) h(i, j) = h(j, i) = *next++;
  }
  return {n, std::move(numbers), Cross::none, {}};
}

}  // namespace hack::svd
