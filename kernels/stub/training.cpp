// Operations of training and pivots, which no build has on the GPU.

#include "kernels/gradient.hpp"
#include "kernels/pivot.hpp"

namespace hack {

namespace {

constexpr Device D = Device::cuda;
using X = MatrixView<const float, D>;
using Y = MatrixView<float, D>;

[[noreturn]] void refuse() { throw Error("compression runs on the CPU in this version; use --device cpu"); }

}  // namespace

namespace kernels {

template <>
void pivot_tiles<D>(Queue<D>&, std::span<PivotedTile<D>>) {
  refuse();
}

template <>
void weight_gradient<D>(Queue<D>&, X, X, Y) {
  refuse();
}

template <>
void input_gradient<D>(Queue<D>&, X, X, Y) {
  refuse();
}

template <>
void swiglu_into<D>(Queue<D>&, X, X, Y) {
  refuse();
}

template <>
void swiglu_gradient<D>(Queue<D>&, X, Y, Y) {
  refuse();
}

template <>
void residual<D>(Queue<D>&, X, const float*, float, Y, float*) {
  refuse();
}

template <>
void multiply_factors<D>(Queue<D>&, std::span<const FactorTile<D>>, Y) {
  refuse();
}

template <>
void factor_gradients<D>(Queue<D>&, X, std::span<const FactorTile<D>>) {
  refuse();
}

template <>
void adam<D>(Queue<D>&, const AdamStep&, const float*, float*, float*, float*, index_t) {
  refuse();
}

}  // namespace kernels
}  // namespace hack
