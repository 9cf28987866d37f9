#include "svd/refine/mlp_gradient.hpp"

#include <vector>

#include "kernels/elementwise.hpp"
#include "kernels/gradient.hpp"

namespace hack::svd {
namespace {

template <Device D>
using X = MatrixView<const float, D>;
template <Device D>
using Y = MatrixView<float, D>;

}  // namespace

template <Device D>
MlpGradient<D>::MlpGradient(RefinableMatrix<D>& gate, RefinableMatrix<D>& up, RefinableMatrix<D>& down,
                            index_t max_tokens, DType rounded)
    : max_tokens_(max_tokens),
      rounded_(rounded),
      gate_(gate),
      up_(up),
      down_(down),
      parameters_(gate.count() + up.count() + down.count()),
      gradients_(parameters_.size()),
      weight_gradient_(hidden() * intermediate()),
      gate_out_(max_tokens * intermediate()),
      up_out_(max_tokens * intermediate()),
      product_(max_tokens * intermediate()),
      out_(max_tokens * hidden()),
      squares_(max_tokens) {
  HACK_EXPECT(max_tokens >= 1);
  HACK_EXPECT(gate_.rows() == intermediate() && gate_.cols() == hidden());
  HACK_EXPECT(up_.rows() == intermediate() && up_.cols() == hidden());
  index_t at = 0;
  for (RefinableMatrix<D>* matrix : {&gate_, &up_, &down_}) {
    matrix->place(parameters_.data() + at, gradients_.data() + at);
    at += matrix->count();
  }
}

template <Device D>
void MlpGradient<D>::rebuild(Queue<D>& queue) {
  gate_.rebuild(queue);
  up_.rebuild(queue);
  down_.rebuild(queue);
}

/// Leaves factor · weight · (f(x) - target) in out_, and in their buffers the activations that the way back reads: gate
/// x, up x and their product.
template <Device D>
double MlpGradient<D>::run_forward(Queue<D>& queue, X<D> inputs, X<D> targets, const float* weights, float factor) {
  const index_t tokens = inputs.rows;
  HACK_EXPECT(tokens <= max_tokens_ && targets.rows == tokens);
  HACK_EXPECT(inputs.cols == hidden() && targets.cols == hidden());
  const Y<D> gate(gate_out_.data(), tokens, intermediate());
  const Y<D> up(up_out_.data(), tokens, intermediate());
  const Y<D> product(product_.data(), tokens, intermediate());
  const Y<D> out(out_.data(), tokens, hidden());
  kernels::layer_output<D>(queue, inputs, gate_.weights(), gate, rounded_);
  kernels::layer_output<D>(queue, inputs, up_.weights(), up, rounded_);
  kernels::swiglu_into<D>(queue, gate, up, product);
  kernels::layer_output<D>(queue, product, down_.weights(), out, rounded_);
  kernels::output_error<D>(queue, targets, weights, factor, out, squares_.data());
  std::vector<float> squares(static_cast<std::size_t>(tokens));
  queue.wait();
  kernels::copy_to_host<D>(squares.data(), squares_.data(), squares.size() * sizeof(float));
  double sum = 0;
  for (const float square : squares) sum += square;
  return sum;
}

template <Device D>
double MlpGradient<D>::squared_error(Queue<D>& queue, X<D> inputs, X<D> targets, const float* weights) {
  return run_forward(queue, inputs, targets, weights, 1);
}

/// Back-propagation in an order that needs no second set of activations. The gradient of down reads the product, and
/// only then the product's buffer takes the product's own gradient; swiglu_gradient() replaces gate x and up x by their
/// gradients. The matrices share one buffer for dW, because each dW is turned into gradients of parameters at once.
template <Device D>
double MlpGradient<D>::differentiate(Queue<D>& queue, X<D> inputs, X<D> targets, double factor, const float* weights) {
  if (inputs.rows == 0) {
    kernels::clear<D>(queue, {gradients_.data(), 1, gradients_.size()});
    return 0;
  }
  // d ‖f - target‖² = 2 (f - target) df: the 2 is part of the factor.
  const double sum = run_forward(queue, inputs, targets, weights, static_cast<float>(2 * factor));
  const Y<D> gate(gate_out_.data(), inputs.rows, intermediate());
  const Y<D> up(up_out_.data(), inputs.rows, intermediate());
  const Y<D> product(product_.data(), inputs.rows, intermediate());
  const Y<D> out(out_.data(), inputs.rows, hidden());

  const Y<D> d_down(weight_gradient_.data(), hidden(), intermediate());
  kernels::weight_gradient<D>(queue, out, product, d_down, rounded_);
  down_.differentiate(queue, d_down);

  kernels::input_gradient<D>(queue, out, down_.weights(), product, rounded_);
  kernels::swiglu_gradient<D>(queue, product, gate, up);
  const Y<D> d_side(weight_gradient_.data(), intermediate(), hidden());
  kernels::weight_gradient<D>(queue, gate, inputs, d_side, rounded_);
  gate_.differentiate(queue, d_side);
  kernels::weight_gradient<D>(queue, up, inputs, d_side, rounded_);
  up_.differentiate(queue, d_side);
  return sum;
}

template class MlpGradient<Device::cpu>;
template class MlpGradient<Device::cuda>;

}  // namespace hack::svd
