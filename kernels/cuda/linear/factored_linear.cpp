#include "kernels/factored_linear.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/linear/factored_linear.cuh"
#include "kernels/cuda/linear/factored_product.cuh"
#include "kernels/cuda/linear/tile_launch.hpp"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using cuda::Array;
using cuda::Workspace;

/// V phase of up to T tokens, by splits where shares are few.
template <class W, int T>
void project(Queue<D>& queue, const cuda::FactoredPlanLists& shares, const cuda::Factors<W>& v, const float* scale,
             Array<const float> x, Array<float> z) {
  const index_t splits = cuda::splits_of(shares.projection_count, shares.projection_splits, shares.multiprocessors);
  if (splits == 1) {
    cuda::launch(queue, cuda::Project<W, T>{shares, v, scale, x, 1, z});
    return;
  }
  const index_t rows = splits * z.rows;
  const Array<float> sums{queue.resources().workspace<float>(Workspace::split_sums, rows * z.cols), rows, z.cols,
                          z.cols};
  cuda::launch(queue, cuda::Project<W, T>{shares, v, scale, x, splits, sums});
  cuda::launch(queue, cuda::AddSplits{{sums.data, sums.rows, sums.cols, sums.ld}, splits, z});
}

/// U phase of up to T tokens, by splits where the plan has some.
template <class W, int T>
void expand(Queue<D>& queue, const cuda::FactoredPlanLists& shares, const cuda::Factors<W>& u, Array<const float> z,
            Array<float> y, bool adds) {
  if (shares.splits == 1) {
    cuda::launch(queue, cuda::Expand<W, T>{shares, shares.few, shares.few_count, u, z, y, adds});
    return;
  }
  const index_t rows = shares.splits * y.rows;
  const Array<float> sums{queue.resources().workspace<float>(Workspace::split_sums, rows * y.cols), rows, y.cols,
                          y.cols};
  cuda::launch(queue, cuda::Expand<W, T>{shares, shares.split, shares.split_count, u, z, sums});
  cuda::launch(queue, cuda::AddSplits{{sums.data, sums.rows, sums.cols, sums.ld}, shares.splits, y, adds});
}

template <class W>
void apply(Queue<D>& queue, Array<const float> x, const FactoredView<D>& w, Array<float> y, bool adds) {
  cuda::FactoredPlanLists shares;
  std::memcpy(&shares, w.plan->shares(), sizeof(shares));
  const cuda::Factors<W> u{reinterpret_cast<const W*>(w.u), w.u_scales};
  const cuda::Factors<W> v{reinterpret_cast<const W*>(w.v), w.v_scales};
  const index_t length = w.rank_space();
  const Array<float> z{queue.resources().workspace<float>(Workspace::rank_space, x.rows * length), x.rows, length,
                       length};
  const Array<const float> projected{z.data, z.rows, z.cols, z.ld};
  if (x.rows <= cuda::few_tokens && shares.tiles.count > 0) {
    cuda::multiply_tiles<W>(queue, x, {w, nullptr}, nullptr, y, adds);
  } else if (x.rows == 1) {
    project<W, 1>(queue, shares, v, w.scale, x, z);
    expand<W, 1>(queue, shares, u, projected, y, adds);
  } else if (x.rows <= cuda::few_tokens) {
    project<W, 8>(queue, shares, v, w.scale, x, z);
    expand<W, 8>(queue, shares, u, projected, y, adds);
  } else {
    cuda::launch(queue, cuda::ProjectMany<W>{shares, v, w.scale, x, z});
    cuda::launch(queue, cuda::ExpandMany<W>{shares, u, projected, y, adds});
  }
}

}  // namespace

template <>
void factored_linear<D>(Queue<D>& queue, MatrixView<const float, D> x, const FactoredView<D>& w, MatrixView<float, D> y,
                        Write write) {
  HACK_EXPECT(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows && w.plan != nullptr);
  if (const auto matrix = w.as_matrix()) return linear(queue, x, *matrix, y, write);
  constexpr index_t numbers_of_z = index_t{64} << 20;  // a quarter of a gigabyte, and more only for one token
  const index_t step = std::clamp<index_t>(numbers_of_z / std::max<index_t>(w.rank_space(), 1), 1, 4096);
  for (index_t token = 0; token < y.rows && y.cols > 0; token += step) {
    const index_t tokens = std::min(step, y.rows - token);
    const auto from = cuda::array_of(x.rows_from(token, tokens));
    const auto to = cuda::array_of(y.rows_from(token, tokens));
    cuda::with_term_codec(w.codec, [&]<class W>() { apply<W>(queue, from, w, to, write == Write::add); });
  }
}

}  // namespace hack::kernels
