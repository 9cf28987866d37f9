#pragma once

#include <cstdint>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/pivot.hpp"
#include "svd/tile_encoder.hpp"

namespace hack::svd {

/// Tiles in their pivoted form, found on D all together, for the host to read.
template <Device D>
class PivotedTiles {
 public:
  /// Of each tile the factors are given: u (h, k), sigma, vt (k, w).
  PivotedTiles(Queue<D>& queue, std::vector<kernels::PivotedTile<D>> tiles);

  /// The t-th of those given; this outlives it.
  PivotedNumbers operator[](std::size_t t) const;

 private:
  struct Place {
    index_t h, w, k;
    index_t marks;    // where they begin
    index_t numbers;  // likewise: pivots, then coefficients
    kernels::PivotStatus status = kernels::PivotStatus::ok;

    index_t coefficients() const { return numbers + k * w; }
  };

  std::vector<Place> places_;
  Buffer<std::uint8_t> marks_;
  Buffer<float> numbers_;
};

}  // namespace hack::svd
