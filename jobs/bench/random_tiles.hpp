#pragma once

#include <vector>

#include "jobs/bench/svd_check.hpp"
#include "kernels/buffer.hpp"
#include "kernels/tile_svd.hpp"
#include "svd/tile/range.hpp"

namespace hack::jobs {

/// This rank's share of a batch of random square tiles with standard normal numbers, the same for any number of ranks,
/// and memory for their factors.
template <Device D>
class RandomTiles {
 public:
  /// Tiles with the numbers of `range`, (size, size), and so many vectors of each.
  RandomTiles(const svd::Range& range, index_t size, index_t vectors, bool as_bf16);

  /// Both return when all tiles are factorized.
  void factorize(Queue<D>& queue);
  void factorize_by_library(Queue<D>& queue);

  /// The largest errors over all tiles of the last factorization.
  SvdErrors check(Queue<D>& queue) const;

 private:
  index_t size_, vectors_, count_;
  Buffer<float> host_values_;                   // (count, size, size)
  Buffer<float, D> values_;                     // (count, size, size)
  Buffer<float, D> u_;                          // (count, size, vectors)
  Buffer<float, D> sigma_;                      // (count, size)
  Buffer<float, D> vt_;                         // (count, vectors, size)
  std::vector<MatrixView<const float, D>> in_;  // (count)
  std::vector<kernels::TileSvd<D>> out_;        // (count)
};

}  // namespace hack::jobs
