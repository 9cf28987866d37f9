#pragma once

#include <cstring>

#include "kernels/cuda/linear/tile_product.cuh"
#include "kernels/cuda/memory/resources.hpp"
#include "kernels/factored_linear.hpp"

namespace hack::kernels::cuda {

/// One matrix of multiply_tiles.
struct TileFactor {
  const FactoredView<Device::cuda>& w;
  const float* bias;  // of gate or up
};

template <class W>
TileSide<W> tile_side(const TileFactor& factor) {
  const FactoredView<Device::cuda>& w = factor.w;
  FactoredPlanLists lists;
  std::memcpy(&lists, w.plan->shares(), sizeof(lists));
  TileSide<W> side;
  side.runs = lists.tiles;
  side.skeleton = lists.skeleton;
  side.u = {reinterpret_cast<const W*>(w.u), w.u_scales};
  side.v = {reinterpret_cast<const W*>(w.v), w.v_scales};
  side.scale = w.scale;
  side.bias = factor.bias;
  return side;
}

template <class W, int T>
void launch_tiles(Queue<Device::cuda>& queue, const TileProduct<W, T, true>& product) {
  if constexpr (!has_blocks<W>) {
    if (!product.first.runs.is_aligned || !product.second.runs.is_aligned) {
      launch(queue, TileProduct<W, T, false>{product.first, product.second, product.x, product.y, product.adds});
      return;
    }
  }
  launch(queue, product);
}

/// By one launch, of up to few_tokens tokens: y = x Wᵀ or y += x Wᵀ; with a second matrix, whose tile rows begin where
/// the first one's do, y = silu(x Wᵀ + bias) * (x W2ᵀ + bias). Both have runs.
template <class W>
void multiply_tiles(Queue<Device::cuda>& queue, Array<const float> x, const TileFactor& first, const TileFactor* second,
                    Array<float> y, bool adds) {
  TileSide<W> one = tile_side<W>(first), two;
  if (second != nullptr) two = tile_side<W>(*second);
  const index_t numbers = one.runs.most * x.rows * y.cols;
  one.sums = queue.resources().workspace<float>(Workspace::split_sums, numbers + two.runs.most * x.rows * y.cols);
  two.sums = one.sums + numbers;
  if (x.rows == 1) {
    launch_tiles<W, 1>(queue, {one, two, x, y, adds});
  } else {
    launch_tiles<W, 8>(queue, {one, two, x, y, adds});
  }
}

}  // namespace hack::kernels::cuda
