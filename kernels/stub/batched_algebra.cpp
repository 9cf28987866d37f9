// Batched algebra on the GPU, in a build that has none: each says why.

#include "kernels/batched_algebra.hpp"

#include "kernels/error.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;

[[noreturn]] void refuse() { throw Error(std::string(why_unavailable(D))); }

}  // namespace

template <>
void multiply<D>(Queue<D>&, double, Transpose, Transpose, double, std::span<const Product<D>>) {
  refuse();
}

template <>
void combine<D>(Queue<D>&, double, double, std::span<const Block<float, double, D>>) {
  refuse();
}

template <>
void combine<D>(Queue<D>&, double, double, std::span<const Block<double, float, D>>) {
  refuse();
}

template <>
void combine<D>(Queue<D>&, double, double, std::span<const Block<double, double, D>>) {
  refuse();
}

template <>
void round_scaled<D>(Queue<D>&, std::span<const Block<double, float, D>>) {
  refuse();
}

template <>
void damp<D>(Queue<D>&, double, std::span<const MatrixView<double, D>>) {
  refuse();
}

template <>
void cholesky<D>(Queue<D>&, std::span<const MatrixView<double, D>>, std::span<std::uint8_t>) {
  refuse();
}

template <>
void solve_cholesky<D>(Queue<D>&, std::span<const CholeskySystem<D>>) {
  refuse();
}

template <>
bool orthonormalize_rows<D>(Queue<D>&, std::span<const FactorPair<D>>) {
  refuse();
}

template <>
void eigenvalues<D>(Queue<D>&, index_t, double*, double*, std::span<std::uint8_t>) {
  refuse();
}

template <>
void row_products<D>(Queue<D>&, MatrixView<const double, D>, MatrixView<const double, D>, double*) {
  refuse();
}

}  // namespace hack::kernels
