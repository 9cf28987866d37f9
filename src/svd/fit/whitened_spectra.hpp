#pragma once

#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/queue.hpp"
#include "svd/fit/placed_whitening.hpp"
#include "svd/tile/tile_grid.hpp"

namespace hack::svd {

/// Singular values of whitened tiles W_ij S_j, as square roots of the eigenvalues of their smaller Gram matrices: in
/// double they are accurate to 1e-8 of the largest. In batches on D.
template <Device D>
class WhitenedSpectra {
 public:
  /// All arguments outlive this.
  WhitenedSpectra(Queue<D>& queue, const PlacedWhitening<D>& whitening, const TileGrid& grid);

  /// Appends the singular values of the tiles of tile row i, whose values (h, n) lie contiguous on the host:
  /// descending, r = min(h, w) of each tile. Returns of each tile whether its iteration converged; where one did not,
  /// nothing is appended.
  std::vector<std::uint8_t> append(index_t i, MatrixView<const float> values, std::vector<float>& sigma);

 private:
  bool find(index_t first, index_t end, MatrixView<const float, D> values, std::vector<float>& sigma,
            std::vector<std::uint8_t>& has_converged);

  Queue<D>& queue_;
  const PlacedWhitening<D>& whitening_;
  const TileGrid& grid_;
  index_t at_once_;             // tiles
  Buffer<double, D> tiles_;     // (tiles) × (h, w)
  Buffer<double, D> whitened_;  // (tiles) × (h, w)
  Buffer<double, D> grams_;     // (tiles) × (r, r)
  Buffer<double, D> lambda_;    // (tiles, r)
};

}  // namespace hack::svd
