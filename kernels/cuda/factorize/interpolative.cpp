#include "kernels/interpolative.hpp"

#include <vector>

#include "kernels/cuda/memory/host_copy.hpp"
#include "kernels/cuda/factorize/interpolative.cuh"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels {

namespace {

constexpr Device D = Device::cuda;
using cuda::HostCopy;
using cuda::InterpolateTiles;
using cuda::InterpolationJob;
using Tile = InterpolativeTile<D>;

/// On the host, by the CPU's operation.
void interpolate_on_host(Queue<D>& queue, Tile& tile) {
  const index_t h = tile.u.rows, k = tile.u.cols, w = tile.vt.cols;
  HostCopy u(h, k), sigma(1, k), vt(k, w), skeleton(k, w), coefficients(h - k, k);
  u.take(queue, tile.u);
  sigma.take(queue, {tile.sigma, 1, k});
  vt.take(queue, tile.vt);
  std::vector<std::uint8_t> marks(static_cast<std::size_t>(mark_bytes(h)));
  InterpolativeTile<Device::cpu> copy{u.view(),     sigma.view().data, vt.view(),
                                      marks.data(), skeleton.view(),   coefficients.view()};
  Queue<Device::cpu> host(1);
  interpolate_tiles<Device::cpu>(host, std::span(&copy, 1));
  tile.status = copy.status;
  tile.growth = copy.growth;
  skeleton.give(queue, tile.skeleton);
  coefficients.give(queue, tile.coefficients);
  cuda::upload(queue, tile.marks, marks.data(), marks.size());
}

}  // namespace

template <>
index_t interpolation_bytes<D>(index_t h, index_t, index_t k) {
  return h <= InterpolateTiles::side ? 8 * h * k : 0;
}

template <>
void interpolate_tiles<D>(Queue<D>& queue, std::span<Tile> tiles) {
  std::vector<std::size_t> on_gpu;
  std::vector<InterpolationJob> jobs;
  index_t numbers = 0;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const Tile& tile = tiles[t];
    const index_t h = tile.u.rows, k = tile.u.cols;
    HACK_EXPECT(h > 0 && k <= h && tile.vt.rows == k && tile.skeleton.rows == k && tile.skeleton.cols == tile.vt.cols);
    HACK_EXPECT(tile.coefficients.rows == h - k && tile.coefficients.cols == k);
    if (h > InterpolateTiles::side) continue;
    on_gpu.push_back(t);
    jobs.push_back({cuda::array_of(tile.u), tile.sigma, cuda::array_of(tile.vt), tile.marks,
                    cuda::array_of(tile.skeleton), cuda::array_of(tile.coefficients), nullptr});
    numbers += h * k;
  }
  if (!jobs.empty()) {
    auto* space = queue.resources().workspace<double>(cuda::Workspace::tile_space, numbers);
    for (InterpolationJob& job : jobs) {
      job.space = space;
      space += job.u.rows * job.u.cols;
    }
    const index_t count = std::ssize(jobs);
    auto* list = queue.resources().workspace<InterpolationJob>(cuda::Workspace::tiles, count);
    auto* results = queue.resources().workspace<cuda::InterpolationResult>(cuda::Workspace::results, count);
    cuda::upload(queue, list, jobs.data(), jobs.size() * sizeof(InterpolationJob));
    cuda::launch(queue, InterpolateTiles{list, count, static_cast<float>(largest_coefficient), results});
    std::vector<cuda::InterpolationResult> found(jobs.size());
    cuda::download(queue, found.data(), results, found.size() * sizeof(cuda::InterpolationResult));
    for (std::size_t n = 0; n < on_gpu.size(); ++n) {
      tiles[on_gpu[n]].growth = found[n].growth;
      tiles[on_gpu[n]].status = found[n].is_finite ? InterpolativeStatus::ok : InterpolativeStatus::not_finite;
    }
  }
  for (Tile& tile : tiles) {
    if (tile.u.rows > InterpolateTiles::side) interpolate_on_host(queue, tile);
  }
}

}  // namespace hack::kernels
