#include "kernels/gradient.hpp"

#include <cmath>

#include "kernels/cuda/train/product_batch.hpp"
#include "kernels/cuda/train/gradient.cuh"
#include "kernels/cuda/memory/resources.hpp"
#include "kernels/cuda/linear/row_dot.cuh"
#include "kernels/linear.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using X = MatrixView<const float, D>;
using Y = MatrixView<float, D>;
using FactorTiles = std::span<const FactorTile<D>>;
using cuda::array_of;
using cuda::Operand;
using cuda::ProductBatch;
using cuda::Workspace;

/// xᵀ in working memory.
X turned(Queue<D>& queue, X x, Workspace purpose) {
  const index_t ld = (x.rows + 3) / 4 * 4;  // rows begin at 16 bytes, as the library likes them
  const Y out{queue.resources().workspace<float>(purpose, x.cols * ld), x.cols, x.rows, ld};
  cuda::launch(queue, cuda::Transpose{array_of(x), array_of(out)});
  return out;
}

WeightView<D> weights(X x) { return {x.data, Codec::f32, x.rows, x.cols, x.ld}; }

}  // namespace

template <>
void layer_output<D>(Queue<D>& queue, X x, X w, Y y, DType rounded) {
  HACK_EXPECT(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows);
  HACK_EXPECT(rounded == DType::f32 || rounded == DType::bf16);
  const bool is_large = x.rows > cuda::few_tokens && y.cols > 0 && x.cols > 0;
  const bool done = rounded == DType::bf16 && is_large &&
                    cuda::library_product<float>(queue, array_of(x), array_of(w), array_of(y), false, true);
  if (!done) linear<D>(queue, x, weights(w), y);
}

template <>
void weight_gradient<D>(Queue<D>& queue, X dy, X x, Y dw, DType rounded) {
  HACK_EXPECT(dy.rows == x.rows && dw.rows == dy.cols && dw.cols == x.cols);
  layer_output<D>(queue, turned(queue, dy, Workspace::turned), turned(queue, x, Workspace::turned_weights), dw,
                  rounded);
}

template <>
void input_gradient<D>(Queue<D>& queue, X dy, X w, Y dx, DType rounded) {
  HACK_EXPECT(dy.cols == w.rows && dx.rows == dy.rows && dx.cols == w.cols);
  layer_output<D>(queue, dy, turned(queue, w, Workspace::turned_weights), dx, rounded);
}

template <>
void swiglu_into<D>(Queue<D>& queue, X gate, X up, Y out) {
  HACK_EXPECT(gate.rows == out.rows && gate.cols == out.cols && up.rows == out.rows && up.cols == out.cols);
  cuda::launch(queue, cuda::SwiGluInto{array_of(gate), array_of(up), array_of(out)});
}

template <>
void swiglu_gradient<D>(Queue<D>& queue, X dout, Y gate, Y up) {
  HACK_EXPECT(gate.rows == dout.rows && gate.cols == dout.cols && up.rows == dout.rows && up.cols == dout.cols);
  cuda::launch(queue, cuda::SwiGluGradient{array_of(dout), array_of(gate), array_of(up)});
}

template <>
void output_error<D>(Queue<D>& queue, X target, const float* token_weights, float factor, Y y, float* squares) {
  HACK_EXPECT(target.rows == y.rows && target.cols == y.cols);
  cuda::launch(queue, cuda::OutputError{array_of(target), token_weights, factor, array_of(y), squares});
}

template <>
void multiply_factors<D>(Queue<D>& queue, FactorTiles tiles, Y w) {
  ProductBatch products;
  for (const FactorTile<D>& tile : tiles) {
    products.add(Operand(tile.left), Operand(tile.right), tile.left.cols,
                 w.block(tile.row, tile.col, tile.left.rows, tile.right.cols));
  }
  products.multiply(queue);
}

template <>
void factor_gradients<D>(Queue<D>& queue, X dw, FactorTiles tiles) {
  ProductBatch products;
  for (const FactorTile<D>& tile : tiles) {
    const index_t h = tile.left.rows, w = tile.right.cols;
    const Operand gradient(dw.block(tile.row, tile.col, h, w));
    products.add(gradient, Operand(tile.right).transposed(), w, tile.left_gradient);
    products.add(Operand(tile.left).transposed(), gradient, h, tile.right_gradient);
  }
  products.multiply(queue);
}

template <>
void adam<D>(Queue<D>& queue, const AdamStep& step, const float* gradient, float* mean, float* square, float* x,
             index_t n) {
  HACK_EXPECT(step.number >= 1);
  cuda::launch(queue, cuda::AdamUpdate{static_cast<float>(step.rate / (1 - std::pow(step.mean_decay, step.number))),
                                       static_cast<float>(1 / std::sqrt(1 - std::pow(step.square_decay, step.number))),
                                       static_cast<float>(step.epsilon), static_cast<float>(step.mean_decay),
                                       static_cast<float>(1 - step.mean_decay), static_cast<float>(step.square_decay),
                                       static_cast<float>(1 - step.square_decay), gradient, mean, square, x, n});
}

}  // namespace hack::kernels
