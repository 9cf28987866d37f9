#include "kernels/gated_linear.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/gated_linear.cuh"
#include "kernels/cuda/resources.hpp"
#include "kernels/elementwise.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using X = MatrixView<const float, D>;
using Y = MatrixView<float, D>;
using View = AffineView<D>;
using cuda::array_of;
using cuda::GatedSide;

/// Whether blocks that own rows of one matrix own the same rows of the other.
bool have_same_rows(const FactoredView<D>& a, const FactoredView<D>& b) {
  return a.type == b.type && std::ranges::equal(a.row_offsets, b.row_offsets);
}

template <class W>
GatedSide<W> side_of(const View& view, cuda::Array<float> z) {
  const FactoredView<D>& w = *view.factored;
  GatedSide<W> side{{}, reinterpret_cast<const W*>(w.u), reinterpret_cast<const W*>(w.v), w.scale, view.bias, z};
  std::memcpy(&side.w, w.plan->shares(), sizeof(side.w));
  return side;
}

template <class W, int T>
void multiply_tiles(Queue<D>& queue, X x, const View& gate, const View& up, Y out) {
  const index_t of_gate = gate.factored->rank_space(), of_up = up.factored->rank_space();
  auto* z = queue.resources().room<float>(cuda::Purpose::rank_space, x.rows * (of_gate + of_up));
  const auto first = side_of<W>(gate, {z, x.rows, of_gate, of_gate});
  const auto second = side_of<W>(up, {z + x.rows * of_gate, x.rows, of_up, of_up});
  cuda::launch(queue, cuda::ProjectPair<W, T>{first, second, array_of(x)});
  cuda::launch(queue, cuda::ExpandGated<W, T>{first, second, array_of(out)});
}

/// Calls multiply.operator()<W, T>() for the type of weights and the number of tokens.
template <class Multiply>
void for_type_and_tokens(DType type, index_t tokens, const Multiply& multiply) {
  const auto as = [&]<class W>(W) {
    if (tokens == 1) {
      multiply.template operator()<W, 1>();
    } else {
      multiply.template operator()<W, 8>();
    }
  };
  if (type == DType::f32) as(float{});
  if (type == DType::bf16) as(bf16{});
  if (type == DType::f16) as(f16{});
}

/// By one launch for both matrices; false, and nothing done, where these are of different kinds or there are many
/// tokens.
bool multiply_both(Queue<D>& queue, X x, const View& gate, const View& up, Y out) {
  if (x.rows > cuda::few_tokens) return false;
  if (gate.factored && up.factored) {
    if (!have_same_rows(*gate.factored, *up.factored)) return false;
    HACK_EXPECT(x.cols == gate.factored->cols && x.cols == up.factored->cols);
    for_type_and_tokens(gate.factored->type, x.rows,
                        [&]<class W, int T>() { multiply_tiles<W, T>(queue, x, gate, up, out); });
    return true;
  }
  if (gate.factored || up.factored || gate.dense.type != up.dense.type) return false;
  HACK_EXPECT(x.cols == gate.dense.cols && x.cols == up.dense.cols);
  for_type_and_tokens(gate.dense.type, x.rows, [&]<class W, int T>() {
    const auto weights = [](WeightView<D> w) {
      return cuda::Array<const W>{static_cast<const W*>(w.data), w.rows, w.cols, w.ld};
    };
    cuda::launch(queue, cuda::MatVecGated<W, T>{array_of(x), weights(gate.dense), weights(up.dense), gate.bias, up.bias,
                                                array_of(out)});
  });
  return true;
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
