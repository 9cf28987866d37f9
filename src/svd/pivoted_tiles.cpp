#include "svd/pivoted_tiles.hpp"

#include "kernels/host_view.hpp"

namespace hack::svd {

using kernels::PivotedTile;

template <Device D>
PivotedTiles<D>::PivotedTiles(Queue<D>& queue, std::vector<PivotedTile<D>> tiles) {
  index_t marks = 0, numbers = 0;
  for (const PivotedTile<D>& tile : tiles) {
    const index_t h = tile.u.rows, w = tile.vt.cols, k = tile.u.cols;
    places_.push_back({h, w, k, marks, numbers});
    marks += kernels::mark_bytes(h);
    numbers += k * (h + w - k);
  }
  Buffer<std::uint8_t, D> marks_there(marks);
  Buffer<float, D> numbers_there(numbers);
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const Place& place = places_[t];
    tiles[t].marks = marks_there.data() + place.marks;
    tiles[t].pivots = {numbers_there.data() + place.numbers, place.k, place.w};
    tiles[t].coefficients = {numbers_there.data() + place.coefficients(), place.h - place.k, place.k};
  }
  kernels::pivot_tiles<D>(queue, tiles);
  for (std::size_t t = 0; t < tiles.size(); ++t) places_[t].status = tiles[t].status;
  marks_ = to_host(queue, std::move(marks_there));
  numbers_ = to_host(queue, std::move(numbers_there));
}

template <Device D>
PivotedNumbers PivotedTiles<D>::operator[](std::size_t t) const {
  const Place& place = places_[t];
  return {marks_.data() + place.marks,
          {numbers_.data() + place.numbers, place.k, place.w},
          {numbers_.data() + place.coefficients(), place.h - place.k, place.k},
          place.status};
}

template class PivotedTiles<Device::cpu>;
template class PivotedTiles<Device::cuda>;

}  // namespace hack::svd
