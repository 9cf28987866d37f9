#include "kernels/tile_svd.hpp"

#include <algorithm>
#include <vector>

#include "kernels/cuda/host_copy.hpp"
#include "kernels/cuda/resources.hpp"
#include "kernels/cuda/tile_svd.cuh"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using cuda::HostCopy;
using cuda::JacobiStatus;
using cuda::JacobiSvd;
using Tile = MatrixView<const float, D>;

/// On the host, by the CPU's operation.
void factorize_on_host(Queue<D>& queue, Tile tile, TileSvd<D>& out) {
  const index_t r = std::min(tile.rows, tile.cols), k = out.vt.rows;
  HostCopy a(tile.rows, tile.cols), u(tile.rows, k), sigma(1, r), vt(k, tile.cols);
  a.take(queue, tile);
  Queue<Device::cpu> host(1);
  const MatrixView<const float> in = a.view();
  TileSvd<Device::cpu> result{u.view(), sigma.view().data, vt.view()};
  tile_svd<Device::cpu>(host, std::span(&in, 1), std::span(&result, 1));
  out.status = result.status;
  if (result.status != SvdStatus::ok) return;
  u.give(queue, out.u);
  sigma.give(queue, {out.sigma, 1, r});
  vt.give(queue, out.vt);
}

}  // namespace

template <>
void tile_svd<D>(Queue<D>& queue, std::span<const Tile> tiles, std::span<TileSvd<D>> out) {
  HACK_EXPECT(tiles.size() == out.size());
  std::vector<std::size_t> on_gpu, on_host;
  std::vector<cuda::SvdTile> descriptions;
  index_t largest = 0;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const Tile& tile = tiles[t];
    const index_t k = out[t].vt.rows;
    HACK_EXPECT(tile.rows > 0 && tile.cols > 0 && k <= std::min(tile.rows, tile.cols));
    HACK_EXPECT(out[t].u.rows == tile.rows && out[t].u.cols == k && (k == 0 || out[t].vt.cols == tile.cols));
    if (std::max(tile.rows, tile.cols) > JacobiSvd::side) {
      on_host.push_back(t);
      continue;
    }
    on_gpu.push_back(t);
    descriptions.push_back({cuda::array_of(tile), cuda::array_of(out[t].u), out[t].sigma, cuda::array_of(out[t].vt)});
    largest = std::max(largest, std::min(tile.rows, tile.cols));
  }
  if (!on_gpu.empty()) {
    const index_t count = std::ssize(on_gpu);
    auto* list = queue.resources().room<cuda::SvdTile>(cuda::Purpose::tiles, count);
    auto* status = queue.resources().room<JacobiStatus>(cuda::Purpose::results, count);
    cuda::upload(queue, list, descriptions.data(), descriptions.size() * sizeof(cuda::SvdTile));
    cuda::launch(queue, JacobiSvd{list, count, static_cast<int>(largest), status});
    std::vector<JacobiStatus> statuses(on_gpu.size());
    cuda::download(queue, statuses.data(), status, statuses.size() * sizeof(JacobiStatus));
    for (std::size_t n = 0; n < on_gpu.size(); ++n) {
      out[on_gpu[n]].status = statuses[n] == JacobiStatus::ok ? SvdStatus::ok : SvdStatus::not_finite;
      if (statuses[n] == JacobiStatus::failed) on_host.push_back(on_gpu[n]);
    }
  }
  queue.resources().count_tiles_left_to_host(std::ssize(on_host));
  for (const std::size_t t : on_host) factorize_on_host(queue, tiles[t], out[t]);
}

}  // namespace hack::kernels
