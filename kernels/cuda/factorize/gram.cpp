#include "kernels/gram.hpp"

#include "kernels/cuda/factorize/gram.cuh"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;

}  // namespace

template <>
void add_outer_products<D>(Queue<D>& queue, MatrixView<const float, D> a, MatrixView<const float, D> b,
                           MatrixView<double, D> sum) {
  HACK_EXPECT(a.rows == b.rows && sum.rows == a.cols && sum.cols == b.cols);
  cuda::launch(queue, cuda::OuterProducts{cuda::array_of(a), cuda::array_of(b), cuda::array_of(sum), false});
}

template <>
void add_gram<D>(Queue<D>& queue, MatrixView<const float, D> x, MatrixView<double, D> sum) {
  HACK_EXPECT(sum.rows == x.cols && sum.cols == x.cols);
  cuda::launch(queue, cuda::OuterProducts{cuda::array_of(x), cuda::array_of(x), cuda::array_of(sum), true});
}

}  // namespace hack::kernels
