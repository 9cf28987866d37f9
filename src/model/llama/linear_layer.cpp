#include "model/llama/linear_layer.hpp"

#include <algorithm>
#include <vector>

#include "model/llama/phase_timer.hpp"

namespace hack::model {

template <Device D>
WeightMatrix<D> read_weights(const Checkpoint& checkpoint, const std::string& name, svd::Range rows, svd::Range cols,
                             DType type) {
  constexpr index_t panel_rows = 256;
  WeightMatrix<D> matrix(rows.size(), cols.size(), type);
  const index_t row_bytes = cols.size() * size_of(type);
  Buffer<float> wide(std::min(panel_rows, rows.size()) * cols.size());  // (panel_rows, cols)
  Buffer<std::byte> narrow(std::min(panel_rows, rows.size()) * row_bytes);
  for (index_t i = 0; i < rows.size() && cols.size() > 0; i += panel_rows) {
    const index_t n = std::min(panel_rows, rows.size() - i);
    checkpoint.read(name, rows.begin + i, cols.begin, MatrixView<float>(wide.data(), n, cols.size()));
    convert(wide.data(), DType::f32, narrow.data(), type, n * cols.size());
    kernels::copy_from_host<D>(matrix.data() + i * row_bytes, narrow.data(), n * row_bytes);
  }
  return matrix;
}

template <Device D>
Buffer<float, D> read_vector(const Checkpoint& checkpoint, const std::string& name, svd::Range part) {
  Buffer<float> host(part.size());
  if (part.size() > 0) checkpoint.read(name, 0, part.begin, MatrixView<float>(host.data(), 1, part.size()));
  return to_device<D>(host.data(), host.size());
}

template <Device D>
LinearLayer<D>::LinearLayer(const WeightSource& source, const std::string& name, svd::Range rows, svd::Range cols,
                            bool has_bias)
    : rows_(rows.size()) {
  const std::string weight = name + ".weight";
  if (source.archive != nullptr && source.archive->contains(weight)) {
    factored_.emplace(*source.archive, weight, rows, cols, source.type);
  } else {
    dense_ = read_weights<D>(source.checkpoint, weight, rows, cols, source.type);
  }
  if (has_bias) bias_ = read_vector<D>(source.checkpoint, name + ".bias", rows);
}

template <Device D>
void LinearLayer<D>::apply(Queue<D>& queue, MatrixView<const float, D> x, MatrixView<float, D> y) const {
  multiply(queue, x, y);
  add_bias(queue, y);
}

template <Device D>
void LinearLayer<D>::multiply(Queue<D>& queue, MatrixView<const float, D> x, MatrixView<float, D> y) const {
  const PhaseTimer::Scope<D> timed(queue, Phase::weights);
  if (factored_) {
    kernels::factored_sum(queue, x, factored_->planes(), y);
  } else {
    kernels::linear(queue, x, dense_.view(), y);
  }
}

template <Device D>
void LinearLayer<D>::add_bias(Queue<D>& queue, MatrixView<float, D> y) const {
  if (bias_.size() > 0) kernels::add_bias(queue, bias_.data(), y);
}

template <Device D>
kernels::AffineView<D> LinearLayer<D>::view() const {
  kernels::AffineView<D> view;
  if (factored_) {
    view.planes = factored_->planes();
  } else {
    view.dense = dense_.view();
  }
  if (bias_.size() > 0) view.bias = bias_.data();
  return view;
}

template <Device D>
void LinearLayer<D>::replace(WeightMatrix<D> weights) {
  HACK_EXPECT(weights.rows() == rows_);
  factored_.reset();
  dense_ = std::move(weights);
}

template <Device D>
index_t LinearLayer<D>::bytes() const {
  return (factored_ ? factored_->bytes() : dense_.bytes()) + bias_.bytes();
}

#define HACK_INSTANTIATE(D)                                                                                    \
  template WeightMatrix<D> read_weights(const Checkpoint&, const std::string&, svd::Range, svd::Range, DType); \
  template Buffer<float, D> read_vector(const Checkpoint&, const std::string&, svd::Range);                    \
  template class LinearLayer<D>;
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)

}  // namespace hack::model
