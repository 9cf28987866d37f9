#include "model/heal/training_linear.hpp"

#include "kernels/gradient.hpp"
#include "kernels/linear.hpp"

namespace hack::model {

template <Device D>
TrainingLinear<D>::TrainingLinear(const WeightSource& source, const std::string& name, const svd::MatrixCut& cut,
                                  bool adds_bias)
    : cut_(cut.block()) {
  const std::string weight = name + ".weight";
  if (source.archive != nullptr && source.archive->contains(weight)) {
    trained_ = std::make_unique<svd::TrainedMatrix<D>>(*source.archive, weight, cut);
  } else {
    fixed_ = read_weights<D>(source.checkpoint, weight, cut_.rows, cut_.cols, DType::f32);
  }
  if (adds_bias) bias_ = read_vector<D>(source.checkpoint, name + ".bias", cut_.rows);
}

template <Device D>
void TrainingLinear<D>::open(Queue<D>& queue) {
  if (trained_) trained_->rebuild(queue);
}

template <Device D>
void TrainingLinear<D>::close() {
  if (trained_) trained_->release();
}

template <Device D>
auto TrainingLinear<D>::weights() const -> Input {
  if (trained_) return trained_->weights();
  return {static_cast<const float*>(fixed_.view().data), rows(), cols()};
}

template <Device D>
void TrainingLinear<D>::apply(Queue<D>& queue, Input x, Output y, DType rounded) const {
  kernels::layer_output<D>(queue, x, weights(), y, rounded);
  if (bias_.size() > 0) kernels::add_bias<D>(queue, bias_.data(), y);
}

template <Device D>
void TrainingLinear<D>::input_gradient(Queue<D>& queue, Input dy, Output dx, DType rounded) const {
  kernels::input_gradient<D>(queue, dy, weights(), dx, rounded);
}

template <Device D>
void TrainingLinear<D>::weight_gradient(Queue<D>& queue, Input dy, Input x, float* space, DType rounded) {
  if (!trained_) return;
  const Output dw(space, rows(), cols());
  kernels::weight_gradient<D>(queue, dy, x, dw, rounded);
  trained_->differentiate(queue, dw);
}

template class TrainingLinear<Device::cpu>;
template class TrainingLinear<Device::cuda>;

}  // namespace hack::model
