#include "kernels/gated_linear.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/linear/gated_linear.cuh"
#include "kernels/cuda/linear/tile_launch.hpp"
#include "kernels/cuda/memory/resources.hpp"
#include "kernels/elementwise.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using X = MatrixView<const float, D>;
using Y = MatrixView<float, D>;
using View = AffineView<D>;
using cuda::array_of;

/// Whether blocks that own rows of one matrix own the same rows of the other.
bool have_same_rows(const FactoredView<D>& a, const FactoredView<D>& b) {
  return a.codec == b.codec && std::ranges::equal(a.row_offsets, b.row_offsets);
}

bool has_runs(const FactoredView<D>& w) {
  cuda::FactoredPlanLists lists;
  std::memcpy(&lists, w.plan->shares(), sizeof(lists));
  return lists.tiles.count > 0;
}

/// Calls multiply.operator()<T>() with the tokens that a kernel takes at once.
template <class Multiply>
void for_tokens(index_t tokens, const Multiply& multiply) {
  if (tokens == 1) {
    multiply.template operator()<1>();
  } else {
    multiply.template operator()<8>();
  }
}

/// By one launch for both dense matrices; false, and nothing done, where these cannot be streamed.
template <class W>
bool multiply_dense(Queue<D>& queue, X x, const View& gate, const View& up, Y out) {
  const auto of_gate = cuda::weights_of<W>(gate.dense), of_up = cuda::weights_of<W>(up.dense);
  using Stream = typename cuda::MatVecGated<W, 1>::Stream;
  if (!Stream::takes(array_of(x), of_gate) || !Stream::takes(array_of(x), of_up)) return false;
  for_tokens(x.rows, [&]<int T>() {
    cuda::launch(queue, cuda::MatVecGated<W, T>{array_of(x), of_gate, of_up, gate.bias, up.bias, array_of(out)});
  });
  return true;
}

/// By one launch for both matrices; false, and nothing done, where these are of different kinds, or sums of planes, or
/// odd in shape, or there are many tokens.
bool multiply_both(Queue<D>& queue, X x, const View& gate, const View& up, Y out) {
  if (x.rows > cuda::few_tokens) return false;
  if (gate.planes.size() == 1 && up.planes.size() == 1) {
    const FactoredView<D>&a = gate.planes[0], &b = up.planes[0];
    if (!have_same_rows(a, b) || !has_runs(a) || !has_runs(b)) return false;
    HACK_EXPECT(x.cols == gate.cols() && x.cols == up.cols());
    cuda::with_term_codec(a.codec, [&]<class W>() {
      const cuda::TileFactor second{b, up.bias};
      cuda::multiply_tiles<W>(queue, array_of(x), {a, gate.bias}, &second, array_of(out), false);
    });
    return true;
  }
  if (gate.is_factored() || up.is_factored() || gate.dense.codec != up.dense.codec) return false;
  HACK_EXPECT(x.cols == gate.dense.cols && x.cols == up.dense.cols);
  bool is_done = false;
  cuda::with_codec(gate.dense.codec, [&]<class W>() { is_done = multiply_dense<W>(queue, x, gate, up, out); });
  return is_done;
}

}  // namespace

template <>
void gated_linear<D>(Queue<D>& queue, X x, const View& gate, const View& up, Y out, Y scratch) {
  HACK_EXPECT(gate.rows() == out.cols && up.rows() == out.cols && out.rows == x.rows);
  HACK_EXPECT(scratch.rows == out.rows && scratch.cols == out.cols);
  if (out.rows == 0 || out.cols == 0 || multiply_both(queue, x, gate, up, out)) return;
  affine(queue, x, gate, out);
  affine(queue, x, up, scratch);
  swiglu<D>(queue, scratch, out);
}

}  // namespace hack::kernels
