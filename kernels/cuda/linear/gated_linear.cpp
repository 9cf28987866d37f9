#include "kernels/gated_linear.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/linear/gated_linear.cuh"
#include "kernels/cuda/memory/resources.hpp"
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
  return a.codec == b.codec && std::ranges::equal(a.row_offsets, b.row_offsets);
}

template <class W>
GatedSide<W> side_of(const View& view) {
  const FactoredView<D>& w = view.planes.front();
  GatedSide<W> side;
  std::memcpy(&side.w, w.plan->shares(), sizeof(side.w));
  side.u = {reinterpret_cast<const W*>(w.u), w.u_scales};
  side.v = {reinterpret_cast<const W*>(w.v), w.v_scales};
  side.scale = w.scale;
  side.bias = view.bias;
  const bool is_split = side.w.splits > 1;
  side.expansions = is_split ? side.w.split : side.w.few;
  side.expansion_count = is_split ? side.w.split_count : side.w.few_count;
  return side;
}

/// V phases: z of gate and of up, side by side in one matrix.
template <class W, int T>
void project(Queue<D>& queue, X x, GatedSide<W>& gate, GatedSide<W>& up, index_t of_gate, index_t of_up) {
  const index_t length = of_gate + of_up;
  const index_t most = std::max(gate.w.projection_splits, up.w.projection_splits);
  const index_t splits = cuda::splits_of(gate.w.projection_count + up.w.projection_count, most, gate.w.multiprocessors);
  auto* z = queue.resources().workspace<float>(cuda::Workspace::rank_space, x.rows * length);
  auto* sums =
      splits == 1 ? z : queue.resources().workspace<float>(cuda::Workspace::split_sums, splits * x.rows * length);
  gate.z = {sums, splits * x.rows, of_gate, length};
  up.z = {sums + of_gate, splits * x.rows, of_up, length};
  cuda::launch(queue, cuda::ProjectPair<W, T>{gate, up, array_of(x), splits});
  gate.z = {z, x.rows, of_gate, length};
  up.z = {z + of_gate, x.rows, of_up, length};
  if (splits == 1) return;
  cuda::launch(queue, cuda::AddSplits{{sums, splits * x.rows, length, length}, splits, {z, x.rows, length, length}});
}

/// U phases: one launch, or, where rows are few, sums of splits, and another that adds them up.
template <class W, int T>
void expand(Queue<D>& queue, GatedSide<W>& gate, GatedSide<W>& up, Y out) {
  if (gate.w.splits == 1 && up.w.splits == 1) {
    cuda::launch(queue, cuda::ExpandGated<W, T>{gate, up, array_of(out)});
    return;
  }
  const index_t of_gate = gate.w.splits * out.rows, of_up = up.w.splits * out.rows;
  auto* sums = queue.resources().workspace<float>(cuda::Workspace::split_sums, (of_gate + of_up) * out.cols);
  gate.sums = {sums, of_gate, out.cols, out.cols};
  up.sums = {sums + of_gate * out.cols, of_up, out.cols, out.cols};
  cuda::launch(queue, cuda::ExpandPair<W, T>{gate, up});
  const auto read = [](const cuda::Array<float>& a) { return cuda::Array<const float>{a.data, a.rows, a.cols, a.ld}; };
  cuda::launch(queue, cuda::AddGated{read(gate.sums), read(up.sums), gate.bias, up.bias, array_of(out)});
}

template <class W, int T>
void multiply_tiles(Queue<D>& queue, X x, const View& gate, const View& up, Y out) {
  auto first = side_of<W>(gate), second = side_of<W>(up);
  project<W, T>(queue, x, first, second, gate.planes[0].rank_space(), up.planes[0].rank_space());
  expand<W, T>(queue, first, second, out);
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
    if (!have_same_rows(gate.planes[0], up.planes[0])) return false;
    HACK_EXPECT(x.cols == gate.cols() && x.cols == up.cols());
    cuda::with_term_codec(gate.planes[0].codec, [&]<class W>() {
      for_tokens(x.rows, [&]<int T>() { multiply_tiles<W, T>(queue, x, gate, up, out); });
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
