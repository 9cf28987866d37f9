#include "svd/refine/refinable_codes.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/error.hpp"
#include "kernels/host_view.hpp"

namespace hack::svd {
namespace {

/// Where x lies between the codes, at most 0.45 from `code`, so that it stays that code.
float position(const BlockGrid& grid, double x, const BlockScale& scale, int code) {
  const double level = scale.scale == 0 ? grid.level(code) : (x - scale.minimum) / scale.scale;
  const double beyond = level - grid.level(code);
  const int next = beyond > 0 ? code + 1 : code - 1;
  if (beyond == 0 || next < 0 || next >= grid.count()) return 0;
  const double part = std::min(0.45, beyond / (grid.level(next) - grid.level(code)));
  return static_cast<float>(beyond > 0 ? part : -part);
}

}  // namespace

template <Device D>
RefinableCodes<D>::RefinableCodes(QuantizedMatrix source)
    : rows_(source.values.rows),
      cols_(source.values.cols),
      numbers_(source.numbers),
      blocks_(blocks_of_row(source.grid, source.numbers.block())),
      start_(std::move(source.rows)),
      now_(start_),
      first_(rows_ * cols_),
      weights_(rows_ * cols_),
      there_(D == Device::cpu ? 0 : rows_ * cols_) {
  HACK_EXPECT(std::ssize(start_.codes) == rows_ * cols_ && std::ssize(start_.scales) == rows_ * blocks());
  const int last = numbers_.count() - 1;
  for (int q = 0; q <= last; ++q) {
    const int below = std::max(q - 1, 0), above = std::min(q + 1, last);
    spacings_.push_back(static_cast<float>((numbers_.level(above) - numbers_.level(below)) / (above - below)));
  }
  for (index_t i = 0; i < rows_; ++i) {
    for (index_t b = 0; b < blocks(); ++b) {
      const BlockScale& scale = start_.scales[static_cast<std::size_t>(i * blocks() + b)];
      for (index_t j = blocks_[static_cast<std::size_t>(b)].begin; j < blocks_[static_cast<std::size_t>(b)].end; ++j) {
        const index_t at = i * cols_ + j;
        first_.data()[at] =
            position(numbers_, source.values(i, j), scale, start_.codes[static_cast<std::size_t>(at)]) / position_unit;
      }
    }
  }
}

template <Device D>
void RefinableCodes<D>::place(float* parameters, float* gradients) {
  HACK_EXPECT(first_.size() > 0);
  parameters_ = parameters;
  gradients_ = gradients;
  kernels::copy_from_host<D>(parameters, first_.data(), static_cast<std::size_t>(first_.bytes()));
  const std::vector<float> zeros(static_cast<std::size_t>(count() - first_.size()));  // of blocks
  kernels::copy_from_host<D>(parameters + first_.size(), zeros.data(), zeros.size() * sizeof(float));
  first_ = {};
}

template <Device D>
template <class T>
auto RefinableCodes<D>::row(T* parameters, index_t i) const -> Row<T> {
  T* scales = parameters + rows_ * cols_;
  T* minima = numbers_.has_minimum() ? scales + (rows_ + i) * blocks() : nullptr;
  return {parameters + i * cols_, scales + i * blocks(), minima};
}

template <Device D>
void RefinableCodes<D>::rebuild_row(index_t i, const Row<const float>& parameters) {
  const double span = numbers_.level(numbers_.count() - 1) - numbers_.level(0);
  const int last = numbers_.count() - 1;
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const std::size_t block = static_cast<std::size_t>(i * blocks()) + b;
    const BlockScale& first = start_.scales[block];
    const double shift = parameters.minima == nullptr ? 0 : std::fabs(first.scale) * span * parameters.minima[b];
    const BlockScale scale =
        numbers_.rounded(first.scale * (1.0 + parameters.scales[b]), static_cast<double>(first.minimum) + shift);
    now_.scales[block] = scale;
    for (index_t j = blocks_[b].begin; j < blocks_[b].end; ++j) {
      const auto at = static_cast<std::size_t>(i * cols_ + j);
      // What is not finite stays where it was: the steps before were too large, which the loss shows.
      const float moved = std::clamp(position_unit * parameters.numbers[j], -1.0f, 1.0f);
      const int step = moved >= 0.5f ? 1 : moved <= -0.5f ? -1 : 0;
      const int code = std::clamp(start_.codes[at] + step, 0, last);
      now_.codes[at] = static_cast<std::uint8_t>(code);
      weights_.data()[at] = scale.scale * static_cast<float>(numbers_.level(code)) + scale.minimum;
    }
  }
}

template <Device D>
void RefinableCodes<D>::rebuild(Queue<D>& queue) {
  const HostView<float, D> parameters(queue, parameters_, count());
#pragma omp parallel for schedule(static) num_threads(queue.threads())
  for (index_t i = 0; i < rows_; ++i) rebuild_row(i, row(parameters.data(), i));
  if constexpr (D != Device::cpu) {
    kernels::copy_from_host<D>(there_.data(), weights_.data(), static_cast<std::size_t>(weights_.bytes()));
  }
}

template <Device D>
MatrixView<const float, D> RefinableCodes<D>::weights() const {
  if constexpr (D == Device::cpu) {
    return {weights_.data(), rows_, cols_};
  } else {
    return {there_.data(), rows_, cols_};
  }
}

template <Device D>
void RefinableCodes<D>::differentiate_row(index_t i, const float* dw, const Row<float>& gradients) const {
  const auto span = static_cast<float>(numbers_.level(numbers_.count() - 1) - numbers_.level(0));
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const std::size_t block = static_cast<std::size_t>(i * blocks()) + b;
    const float d = now_.scales[block].scale, first = start_.scales[block].scale;
    float of_scale = 0, of_minimum = 0;
    for (index_t j = blocks_[b].begin; j < blocks_[b].end; ++j) {
      const std::uint8_t code = now_.codes[static_cast<std::size_t>(i * cols_ + j)];
      gradients.numbers[j] = position_unit * d * spacings_[code] * dw[j];
      of_scale += static_cast<float>(numbers_.level(code)) * dw[j];
      of_minimum += dw[j];
    }
    gradients.scales[b] = first * of_scale;
    if (gradients.minima != nullptr) gradients.minima[b] = std::fabs(first) * span * of_minimum;
  }
}

template <Device D>
void RefinableCodes<D>::differentiate(Queue<D>& queue, MatrixView<const float, D> dw) {
  HACK_EXPECT(dw.rows == rows_ && dw.cols == cols_ && dw.ld == cols_);
  const HostView<float, D> here(queue, dw.data, rows_ * cols_);
  Buffer<float> copy(D == Device::cpu ? 0 : count());
  float* gradients = D == Device::cpu ? gradients_ : copy.data();
#pragma omp parallel for schedule(static) num_threads(queue.threads())
  for (index_t i = 0; i < rows_; ++i) differentiate_row(i, here.data() + i * cols_, row(gradients, i));
  if constexpr (D != Device::cpu) {
    kernels::copy_from_host<D>(gradients_, copy.data(), static_cast<std::size_t>(copy.bytes()));
  }
}

template class RefinableCodes<Device::cpu>;
template class RefinableCodes<Device::cuda>;

}  // namespace hack::svd
