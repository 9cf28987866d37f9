#include "kernels/linear.hpp"

#include "kernels/cuda/llama/elementwise.cuh"
#include "kernels/cuda/linear/linear.cuh"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using X = MatrixView<const float, D>;
using Y = MatrixView<float, D>;
using cuda::array_of;

template <class W>
void multiply_few(Queue<D>& queue, X x, cuda::Weights<W> w, Y y, bool adds) {
  if (!cuda::MatVec<W, 1>::Stream::takes(array_of(x), w)) {
    cuda::launch(queue, cuda::MatVecOfAny<W>{array_of(x), w, array_of(y), adds});
  } else if (x.rows == 1) {
    cuda::launch(queue, cuda::MatVec<W, 1>{array_of(x), w, array_of(y), adds});
  } else {
    cuda::launch(queue, cuda::MatVec<W, 8>{array_of(x), w, array_of(y), adds});
  }
}

/// By the library; false, and nothing done, where it has no such product. Those of narrow weights take x in two narrow
/// parts: with one, its rounding would be the largest error of all.
template <class W>
bool multiply_by_library(Queue<D>& queue, X x, cuda::Weights<W> weights, Y y, bool adds) {
  const cuda::Array<const W> w{weights.data, weights.rows, weights.cols, weights.ld};
  if constexpr (has_scales(cuda::CodecOf<W>::codec)) {
    return false;
  } else if constexpr (std::is_same_v<W, float>) {
    return cuda::library_product<float>(queue, array_of(x), w, array_of(y), adds);
  } else {
    const index_t ld = (x.cols + 7) / 8 * 8;  // rows begin at 16 bytes
    const cuda::Array<W> high{queue.resources().workspace<W>(cuda::Workspace::high, x.rows * ld), x.rows, x.cols, ld};
    const cuda::Array<W> low{queue.resources().workspace<W>(cuda::Workspace::low, x.rows * ld), x.rows, x.cols, ld};
    cuda::launch(queue, cuda::SplitParts<W>{array_of(x), high, low});
    return cuda::library_product<W>(queue, {high.data, high.rows, high.cols, ld}, w, array_of(y), adds) &&
           cuda::library_product<W>(queue, {low.data, low.rows, low.cols, ld}, w, array_of(y), true);
  }
}

}  // namespace

template <>
void linear<D>(Queue<D>& queue, X x, WeightView<D> w, Y y, Write write) {
  HACK_EXPECT(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows);
  if (y.rows == 0 || y.cols == 0) return;
  const bool adds = write == Write::add;
  if (x.cols == 0) {
    for (index_t t = 0; t < y.rows && !adds; ++t) cuda::clear(queue, y.row(t), y.cols * sizeof(float));
    return;
  }
  cuda::with_codec(w.codec, [&]<class W>() {
    const cuda::Weights<W> weights = cuda::weights_of<W>(w);
    if (x.rows <= cuda::few_tokens) {
      multiply_few(queue, x, weights, y, adds);
    } else if (!multiply_by_library(queue, x, weights, y, adds)) {
      cuda::launch(queue, cuda::MatMul<W>{array_of(x), weights, array_of(y), adds});
    }
  });
}

}  // namespace hack::kernels
