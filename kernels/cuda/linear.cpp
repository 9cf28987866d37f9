#include "kernels/linear.hpp"

#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/linear.cuh"
#include "kernels/cuda/resources.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using X = MatrixView<const float, D>;
using Y = MatrixView<float, D>;
using cuda::array_of;

template <class W>
void multiply_few(Queue<D>& queue, X x, cuda::Array<const W> w, Y y, bool adds) {
  if (x.rows == 1) {
    cuda::launch(queue, cuda::MatVec<W, 1>{array_of(x), w, array_of(y), adds});
  } else {
    cuda::launch(queue, cuda::MatVec<W, 8>{array_of(x), w, array_of(y), adds});
  }
}

/// Products of narrow weights take x in two narrow parts: with one, its rounding would be the largest error of all.
template <class W>
void multiply_many(Queue<D>& queue, X x, cuda::Array<const W> w, Y y, bool adds) {
  if constexpr (std::is_same_v<W, float>) {
    cuda::library_product<float>(queue, array_of(x), w, array_of(y), adds);
  } else {
    const index_t ld = (x.cols + 7) / 8 * 8;  // rows begin at 16 bytes
    const cuda::Array<W> high{queue.resources().room<W>(cuda::Purpose::high, x.rows * ld), x.rows, x.cols, ld};
    const cuda::Array<W> low{queue.resources().room<W>(cuda::Purpose::low, x.rows * ld), x.rows, x.cols, ld};
    cuda::launch(queue, cuda::SplitParts<W>{array_of(x), high, low});
    cuda::library_product<W>(queue, {high.data, high.rows, high.cols, ld}, w, array_of(y), adds);
    cuda::library_product<W>(queue, {low.data, low.rows, low.cols, ld}, w, array_of(y), true);
  }
}

}  // namespace

template <>
void linear<D>(Queue<D>& queue, X x, WeightView<D> w, Y y, Write write) {
  HACK_EXPECT(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows);
  if (y.rows == 0 || y.cols == 0) return;
  const bool adds = write == Write::add;
  cuda::with_type(w, [&]<class W>(cuda::Array<const W> weights) {
    if (x.rows <= cuda::few_tokens || x.cols == 0) {
      multiply_few(queue, x, weights, y, adds);
    } else {
      multiply_many(queue, x, weights, y, adds);
    }
  });
}

}  // namespace hack::kernels
