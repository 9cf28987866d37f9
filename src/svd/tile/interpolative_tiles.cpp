#include "svd/tile/interpolative_tiles.hpp"

#include "kernels/host_view.hpp"

namespace hack::svd {

using kernels::InterpolativeTile;

template <Device D>
InterpolativeTiles<D>::InterpolativeTiles(Queue<D>& queue, std::vector<InterpolativeTile<D>> tiles) {
  index_t marks = 0, numbers = 0;
  for (const InterpolativeTile<D>& tile : tiles) {
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
    tiles[t].skeleton = {numbers_there.data() + place.numbers, place.k, place.w};
    tiles[t].coefficients = {numbers_there.data() + place.coefficients(), place.h - place.k, place.k};
  }
  kernels::interpolate_tiles<D>(queue, tiles);
  for (std::size_t t = 0; t < tiles.size(); ++t) places_[t].status = tiles[t].status;
  marks_ = to_host(queue, std::move(marks_there));
  numbers_ = to_host(queue, std::move(numbers_there));
}

template <Device D>
InterpolativeNumbers InterpolativeTiles<D>::operator[](std::size_t t) const {
  const Place& place = places_[t];
  return {marks_.data() + place.marks,
          {numbers_.data() + place.numbers, place.k, place.w},
          {numbers_.data() + place.coefficients(), place.h - place.k, place.k},
          place.status};
}

template class InterpolativeTiles<Device::cpu>;
template class InterpolativeTiles<Device::cuda>;

}  // namespace hack::svd
