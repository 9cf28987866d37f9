#include "svd/refine/refinable_factors.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/error.hpp"
#include "kernels/tile_svd.hpp"

namespace hack::svd {
namespace {

using kernels::SvdStatus;
using kernels::TileSvd;

/// Writes the balanced factors of a tile.
void split(const TruncatedTile& from, MatrixView<float> left, MatrixView<float> right) {
  for (index_t p = 0; p < from.rank; ++p) {
    const float root = std::sqrt(from.sigma.data()[p]);
    for (index_t i = 0; i < left.rows; ++i) left(i, p) = from.u.data()[i * from.rank + p] * root;
    for (index_t j = 0; j < right.cols; ++j) right(p, j) = from.vt.data()[p * right.cols + j] * root;
  }
}

/// Numbers of all factors.
index_t count_parameters(const FactoredTiles& source) {
  index_t count = 0;
  for (index_t t = 0; t < source.grid.size(); ++t) {
    const Tile tile = source.grid.tile(t);
    count += source.tiles[static_cast<std::size_t>(t)].rank * (tile.height + tile.width);
  }
  return count;
}

}  // namespace

template <Device D>
RefinableFactors<D>::RefinableFactors(const FactoredTiles& source)
    : name_(source.name), grid_(source.grid), count_(count_parameters(source)), start_(count_) {
  HACK_EXPECT(std::ssize(source.choices) == grid_.size() && std::ssize(source.tiles) == grid_.size());
  Buffer<float> values(rows() * cols());  // (m, n) of the tiles that are not trained
  std::fill_n(values.data(), values.size(), 0.0f);
  index_t at = 0;
  for (index_t t = 0; t < grid_.size(); ++t) {
    const Tile tile = grid_.tile(t);
    const TruncatedTile& from = source.tiles[static_cast<std::size_t>(t)];
    const index_t k = from.rank;
    ranks_.push_back(k);
    const TileChoice& choice = source.choices[static_cast<std::size_t>(t)];
    if (k == 0 && choice.kind == kernels::Structure::dense && choice.rank > 0) {
      HACK_EXPECT(source.values.rows == rows() && source.values.cols == cols());
      for (index_t i = tile.row; i < tile.row + tile.height; ++i) {
        std::copy_n(source.values.row(i) + tile.col, tile.width, values.data() + i * cols() + tile.col);
      }
    }
    if (k == 0) continue;
    HACK_EXPECT(from.u.size() == tile.height * k && from.sigma.size() == k && from.vt.size() == k * tile.width);
    const index_t right = at + tile.height * k;
    split(from, {start_.data() + at, tile.height, k}, {start_.data() + right, k, tile.width});
    at = right + k * tile.width;
  }
  weights_ = to_device<D>(values.data(), values.size());
}

template <Device D>
void RefinableFactors<D>::place(float* parameters, float* gradients) {
  HACK_EXPECT(start_.size() == count_);
  kernels::copy_from_host<D>(parameters, start_.data(), static_cast<std::size_t>(start_.bytes()));
  start_ = {};
  index_t at = 0;
  for (index_t t = 0; t < grid_.size(); ++t) {
    const Tile tile = grid_.tile(t);
    const index_t k = ranks_[static_cast<std::size_t>(t)], right = at + tile.height * k;
    if (k == 0) continue;
    tiles_.push_back({tile.row,
                      tile.col,
                      {parameters + at, tile.height, k},
                      {parameters + right, k, tile.width},
                      {gradients + at, tile.height, k},
                      {gradients + right, k, tile.width}});
    at = right + k * tile.width;
  }
}

template <Device D>
void RefinableFactors<D>::rebuild(Queue<D>& queue) {
  kernels::multiply_factors<D>(queue, tiles_, {weights_.data(), rows(), cols()});
}

template <Device D>
void RefinableFactors<D>::differentiate(Queue<D>& queue, MatrixView<const float, D> dw) {
  HACK_EXPECT(dw.rows == rows() && dw.cols == cols());
  kernels::factor_gradients<D>(queue, dw, tiles_);
}

template <Device D>
std::vector<TruncatedTile> RefinableFactors<D>::factorize(Queue<Device::cpu>& queue, MatrixView<const float> weights,
                                                          std::span<const index_t> numbers) const {
  std::vector<TruncatedTile> truncated;
  std::vector<Buffer<float>> spectra;  // (r) of each tile
  std::vector<MatrixView<const float>> in;
  std::vector<TileSvd<Device::cpu>> out;
  for (const index_t number : numbers) {
    const Tile tile = grid_.tile(number);
    const index_t k = ranks_[static_cast<std::size_t>(number)];
    TruncatedTile& to = truncated.emplace_back(
        TruncatedTile{k, Buffer<float>(tile.height * k), Buffer<float>(k), Buffer<float>(k * tile.width)});
    float* sigma = spectra.emplace_back(tile.full_rank()).data();
    in.push_back(weights.block(tile.row, tile.col, tile.height, tile.width));
    out.push_back({{to.u.data(), tile.height, k}, sigma, {to.vt.data(), k, tile.width}, SvdStatus::ok});
  }
  kernels::tile_svd<Device::cpu>(queue, in, out);
  for (std::size_t n = 0; n < numbers.size(); ++n) {
    const Tile tile = grid_.tile(numbers[n]);
    validate(
        out[n].status == SvdStatus::ok,
        "tensor {}, tile ({}, {}) cannot be factorized after its refinement ({}); refine with a lower rate", name_,
        tile.i, tile.j,
        out[n].status == SvdStatus::not_finite ? "it holds NaN or infinity" : "its singular values did not converge");
    std::copy_n(spectra[n].data(), truncated[n].rank, truncated[n].sigma.data());
  }
  return truncated;
}

template <Device D>
std::vector<TruncatedTile> RefinableFactors<D>::factors(Queue<D>& queue, Range tiles) const {
  HACK_EXPECT(tiles.begin >= 0 && tiles.begin <= tiles.end && tiles.end <= grid_.size());
  std::vector<index_t> trained;  // numbers of the tiles that have factors
  for (index_t t = tiles.begin; t < tiles.end; ++t) {
    if (ranks_[static_cast<std::size_t>(t)] > 0) trained.push_back(t);
  }
  Queue<Device::cpu> host(queue.threads());
  Buffer<float> copy;  // (m, n) where they are not on the host
  MatrixView<const float> here;
  if constexpr (D == Device::cpu) {
    here = weights();
  } else {
    copy = Buffer<float>(weights_.size());
    queue.wait();
    kernels::copy_to_host<D>(copy.data(), weights_.data(), static_cast<std::size_t>(copy.bytes()));
    here = {copy.data(), rows(), cols()};
  }
  std::vector<TruncatedTile> out(static_cast<std::size_t>(tiles.size()));
  const std::size_t step = 64 * static_cast<std::size_t>(queue.threads());
  for (std::size_t first = 0; first < trained.size(); first += step) {
    const std::span<const index_t> numbers =
        std::span<const index_t>(trained).subspan(first, std::min(step, trained.size() - first));
    std::vector<TruncatedTile> truncated = factorize(host, here, numbers);
    for (std::size_t n = 0; n < numbers.size(); ++n) {
      out[static_cast<std::size_t>(numbers[n] - tiles.begin)] = std::move(truncated[n]);
    }
  }
  return out;
}

template class RefinableFactors<Device::cpu>;
template class RefinableFactors<Device::cuda>;

}  // namespace hack::svd
