#include "kernels/elementwise.hpp"

#include <algorithm>

#include "kernels/cuda/llama/elementwise.cuh"
#include "kernels/cuda/llama/norm.cuh"
#include "kernels/cuda/memory/resources.hpp"
#include "kernels/linear.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using cuda::array_of;

}  // namespace

template <>
void clear<D>(Queue<D>& queue, MatrixView<float, D> x) {
  if (x.cols == x.ld) x = {x.data, x.rows > 0 ? 1 : 0, x.rows * x.cols};
  for (index_t i = 0; i < x.rows; ++i) cuda::clear(queue, x.row(i), static_cast<std::size_t>(x.cols) * sizeof(float));
}

template <>
void add<D>(Queue<D>& queue, MatrixView<const float, D> x, MatrixView<float, D> y) {
  HACK_EXPECT(x.rows == y.rows && x.cols == y.cols);
  cuda::launch(queue, cuda::Add{array_of(x), array_of(y)});
}

template <>
void add_bias<D>(Queue<D>& queue, const float* bias, MatrixView<float, D> y) {
  cuda::launch(queue, cuda::AddBias{bias, array_of(y)});
}

template <>
void rms_norm<D>(Queue<D>& queue, MatrixView<const float, D> x, const float* weight, float epsilon,
                 MatrixView<float, D> y) {
  HACK_EXPECT(x.rows == y.rows && x.cols == y.cols);
  cuda::launch(queue, cuda::RmsNorm{array_of(x), weight, epsilon, array_of(y)});
}

template <>
void add_and_norm<D>(Queue<D>& queue, MatrixView<const float, D> y, MatrixView<float, D> x, const float* weight,
                     float epsilon, MatrixView<float, D> normed) {
  HACK_EXPECT(x.rows == y.rows && x.cols == y.cols && x.rows == normed.rows && x.cols == normed.cols);
  cuda::launch(queue, cuda::AddNorm{array_of(y), array_of(x), weight, epsilon, array_of(normed)});
}

template <>
void swiglu<D>(Queue<D>& queue, MatrixView<const float, D> up, MatrixView<float, D> gate) {
  HACK_EXPECT(up.rows == gate.rows && up.cols == gate.cols);
  cuda::launch(queue, cuda::SwiGlu{array_of(up), array_of(gate)});
}

template <>
void rope<D>(Queue<D>& queue, index_t head_dim, Position<D> position, const float* inverse_frequencies,
             MatrixView<float, D> x) {
  HACK_EXPECT(head_dim > 0 && head_dim % 2 == 0 && x.cols % head_dim == 0);
  cuda::launch(queue, cuda::Rope{head_dim, position, inverse_frequencies, array_of(x)});
}

template <>
void embed<D>(Queue<D>& queue, std::span<const int> ids, WeightView<D> table, index_t first_id,
              MatrixView<float, D> out) {
  HACK_EXPECT(out.rows == std::ssize(ids) && out.cols == table.cols);
  for (index_t first = 0; first < out.rows; first += cuda::TokenIds::most) {
    const index_t n = std::min(cuda::TokenIds::most, out.rows - first);
    cuda::TokenIds tokens{};
    std::copy_n(ids.data() + first, n, tokens.ids);
    cuda::with_codec(table.codec, [&]<class W>() {
      cuda::launch(queue,
                   cuda::Embed<W>{tokens, first_id, cuda::weights_of<W>(table), array_of(out.rows_from(first, n))});
    });
  }
}

template <>
void embed<D>(Queue<D>& queue, const DecodeState* state, WeightView<D> table, index_t first_id,
              MatrixView<float, D> out) {
  HACK_EXPECT(out.rows == 1 && out.cols == table.cols);
  cuda::with_codec(table.codec, [&]<class W>() {
    cuda::launch(queue, cuda::EmbedOne<W>{state, first_id, cuda::weights_of<W>(table), array_of(out)});
  });
}

}  // namespace hack::kernels
