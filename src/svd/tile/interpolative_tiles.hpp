#pragma once

#include <cstdint>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/interpolative.hpp"
#include "svd/tile/tile_encoder.hpp"

namespace hack::svd {

/// Tiles in their interpolative form, found on D all together, for the host to read.
template <Device D>
class InterpolativeTiles {
 public:
  /// Of each tile the factors are given: u (h, k), sigma, vt (k, w).
  InterpolativeTiles(Queue<D>& queue, std::vector<kernels::InterpolativeTile<D>> tiles);

  /// The t-th of those given; this outlives it.
  InterpolativeNumbers operator[](std::size_t t) const;

 private:
  struct Place {
    index_t h, w, k;
    index_t marks;    // where they begin
    index_t numbers;  // likewise: skeleton rows, then coefficients
    kernels::InterpolativeStatus status = kernels::InterpolativeStatus::ok;

    index_t coefficients() const { return numbers + k * w; }
  };

  std::vector<Place> places_;
  Buffer<std::uint8_t> marks_;
  Buffer<float> numbers_;
};

}  // namespace hack::svd
