#include "svd/fit/whitened_spectra.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/batched_algebra.hpp"
#include "kernels/error.hpp"
#include "kernels/host_view.hpp"

namespace hack::svd {

using kernels::Transpose;

template <Device D>
WhitenedSpectra<D>::WhitenedSpectra(Queue<D>& queue, const PlacedWhitening<D>& whitening, const TileGrid& grid)
    : queue_(queue), whitening_(whitening), grid_(grid) {
  const index_t columns = grid.tile_cols();
  at_once_ = std::min<index_t>(columns, D == Device::cpu ? queue.threads() : columns);
  const index_t area = grid.tile_height() * grid.tile_width(), r = grid.max_rank();
  tiles_ = Buffer<double, D>(at_once_ * area);
  whitened_ = Buffer<double, D>(at_once_ * area);
  grams_ = Buffer<double, D>(at_once_ * r * r);
  lambda_ = Buffer<double, D>(at_once_ * r);
}

/// Finds the spectra of tiles first … end - 1 of the row, which have one width.
template <Device D>
bool WhitenedSpectra<D>::find(index_t first, index_t end, MatrixView<const float, D> values, std::vector<float>& sigma,
                              std::vector<std::uint8_t>& has_converged) {
  const index_t h = values.rows, w = whitening_.width(first), r = std::min(h, w), count = end - first;
  std::vector<kernels::Block<float, double, D>> widened;
  std::vector<kernels::Product<D>> whitened, grams;
  for (index_t t = 0; t < count; ++t) {
    const index_t j = first + t;
    const MatrixView<double, D> tile(tiles_.data() + t * h * w, h, w), product(whitened_.data() + t * h * w, h, w);
    widened.push_back({values.block(0, whitening_.first_col(j), h, w), tile});
    whitened.push_back({tile, whitening_.root(j), product});
    grams.push_back({product, product, {grams_.data() + t * r * r, r, r}});
  }
  kernels::combine<D, float, double>(queue_, 1, 0, widened);
  kernels::multiply<D>(queue_, 1, Transpose::no, Transpose::no, 0, whitened);
  const bool is_tall = h > w;
  kernels::multiply<D>(queue_, 1, is_tall ? Transpose::yes : Transpose::no, is_tall ? Transpose::no : Transpose::yes, 0,
                       grams);
  const auto found = std::span(has_converged).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
  kernels::eigenvalues<D>(queue_, r, grams_.data(), lambda_.data(), found);
  const HostView<double, D> here(queue_, lambda_.data(), count * r);
  for (index_t t = 0; t < count; ++t) {
    for (index_t k = r; k-- > 0;) {
      sigma.push_back(static_cast<float>(std::sqrt(std::max(0.0, here.data()[t * r + k]))));
    }
  }
  return std::all_of(found.begin(), found.end(), [](std::uint8_t done) { return done != 0; });
}

template <Device D>
std::vector<std::uint8_t> WhitenedSpectra<D>::append(index_t i, MatrixView<const float> values,
                                                     std::vector<float>& sigma) {
  HACK_EXPECT(values.rows == grid_.tile(i, 0).height && values.ld == grid_.cols());
  const DeviceView<float, D> there(values.data, values.rows * values.cols);
  const index_t columns = grid_.tile_cols();
  std::vector<std::uint8_t> has_converged(static_cast<std::size_t>(columns));
  const std::size_t before = sigma.size();
  bool is_done = true;
  for (index_t first = 0; first < columns;) {
    index_t end = first + 1;
    while (end < columns && end - first < at_once_ && whitening_.width(end) == whitening_.width(first)) ++end;
    is_done = find(first, end, {there.data(), values.rows, values.cols}, sigma, has_converged) && is_done;
    first = end;
  }
  if (!is_done) sigma.resize(before);
  return has_converged;
}

template class WhitenedSpectra<Device::cpu>;
template class WhitenedSpectra<Device::cuda>;

}  // namespace hack::svd
