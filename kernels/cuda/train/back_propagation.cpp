#include "kernels/back_propagation.hpp"

#include "kernels/error.hpp"

// The gradients of whole models have no kernels for GPUs yet.

namespace hack::kernels {
namespace {

constexpr Device gpu = Device::cuda;
using X = MatrixView<const float, gpu>;
using Y = MatrixView<float, gpu>;

[[noreturn]] void refuse_gradient() {
  fail("gradients of a whole model are not computed on GPUs (this program has no kernels for them); choose the CPU");
}

}  // namespace

template <>
void rms_norm_gradient<gpu>(Queue<gpu>&, X, X, const float*, float, Y) {
  refuse_gradient();
}

template <>
void attention_gradient<gpu>(Queue<gpu>&, const AttentionInputs<gpu>&, X, const AttentionGradients<gpu>&) {
  refuse_gradient();
}

template <>
void exp_sums<gpu>(Queue<gpu>&, X, float*, float*) {
  refuse_gradient();
}

template <>
void divergence_gradient<gpu>(Queue<gpu>&, X, const LogSums&, float, Y, float*) {
  refuse_gradient();
}

}  // namespace hack::kernels
