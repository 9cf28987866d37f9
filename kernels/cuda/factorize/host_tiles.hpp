#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "kernels/cuda/memory/host_copy.hpp"
#include "kernels/tile_svd.hpp"

namespace hack::kernels::cuda {

/// Tiles of a batch that the CPU's operations factorize: copies on the host, with memory for the results.
class HostTiles {
 public:
  using Tiles = std::span<const MatrixView<const float, Device::cuda>>;
  using Results = std::span<TileSvd<Device::cuda>>;

  /// Copies the tiles with these indices; all arguments outlive this.
  HostTiles(Queue<Device::cuda>& queue, Tiles tiles, Results results, const std::vector<std::size_t>& numbers)
      : host(queue.threads()), queue_(queue), results_(results), numbers_(numbers) {
    for (const std::size_t t : numbers_) {
      const index_t h = tiles[t].rows, w = tiles[t].cols, k = results[t].vt.rows;
      Copies& copies = copies_.emplace_back(Copies{{h, w}, {h, k}, {1, std::min(h, w)}, {k, w}});
      copies.values.take(queue_, tiles[t]);
      in.emplace_back(copies.values.view());
      out.push_back({copies.u.view(), copies.sigma.view().data, copies.vt.view(), results[t].status});
    }
  }

  // Arguments of the CPU's operations.
  Queue<Device::cpu> host;
  std::vector<MatrixView<const float>> in;
  std::vector<TileSvd<Device::cpu>> out;

  /// Copies the results of the CPU's operations to the device.
  void give_spectra() {
    for (std::size_t n = 0; n < numbers_.size(); ++n) {
      TileSvd<Device::cuda>& to = results_[numbers_[n]];
      to.status = out[n].status;
      const index_t r = copies_[n].sigma.view().cols;
      if (to.status == SvdStatus::ok) copies_[n].sigma.give(queue_, {to.sigma, 1, r});
    }
  }
  void give_vectors() {
    for (std::size_t n = 0; n < numbers_.size(); ++n) {
      TileSvd<Device::cuda>& to = results_[numbers_[n]];
      to.status = out[n].status;
      if (to.status != SvdStatus::ok) continue;
      copies_[n].u.give(queue_, to.u);
      copies_[n].vt.give(queue_, to.vt);
    }
  }

 private:
  struct Copies {
    HostCopy values, u, sigma, vt;
  };

  Queue<Device::cuda>& queue_;
  Results results_;
  const std::vector<std::size_t>& numbers_;
  std::vector<Copies> copies_;
};

}  // namespace hack::kernels::cuda
