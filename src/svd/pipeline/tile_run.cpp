#include "svd/pipeline/tile_run.hpp"

#include <algorithm>
#include <optional>

#include "kernels/device_view.hpp"
#include "kernels/error.hpp"
#include "kernels/host_view.hpp"
#include "svd/tile/interpolative_tiles.hpp"
#include "svd/tile/tile_encoder.hpp"

namespace hack::svd {

using kernels::InterpolativeTile;
using kernels::Structure;
using kernels::SvdStatus;
using kernels::TileSvd;

template <Device D>
TileRun<D>::TileRun(const MatrixSource& source, std::vector<Tile> tiles)
    : source_(source), tiles_(std::move(tiles)), ranks_(tiles_.size(), 0) {
  for (const Tile& tile : tiles_) {
    values_at_.add(tile.height * tile.width);
    sigma_at_.add(tile.full_rank());
  }
}

template <Device D>
void TileRun<D>::read() {
  read_ = Buffer<float>(values_at_.end);
  for (std::size_t t = 0; t < tiles_.size(); ++t) {
    source_.read(tiles_[t].row, tiles_[t].col, values_in<float, Device::cpu>(read_.data(), t));
  }
}

template <Device D>
TileSvd<D> TileRun<D>::svd_of(std::size_t t) {
  float* sigma = sigma_.data() + sigma_at_.of[t];
  const index_t k = ranks_[t];
  if (k == 0) return {{nullptr, tiles_[t].height, 0}, sigma, {nullptr, 0, tiles_[t].width}, SvdStatus::ok};
  return {{u_.data() + u_at_.of[t], tiles_[t].height, k},
          sigma,
          {vt_.data() + vt_at_.of[t], k, tiles_[t].width},
          SvdStatus::ok};
}

template <Device D>
std::vector<MatrixView<const float, D>> TileRun<D>::values_of_all() const {
  std::vector<MatrixView<const float, D>> values;
  for (std::size_t t = 0; t < tiles_.size(); ++t) values.push_back(values_in<const float, D>(values_.data(), t));
  return values;
}

template <Device D>
void TileRun<D>::check(std::span<const TileSvd<D>> svds) const {
  for (std::size_t t = 0; t < tiles_.size(); ++t) {
    validate(
        svds[t].status == SvdStatus::ok, "tensor {}, tile ({}, {}) cannot be factorized ({}); check the checkpoint",
        source_.name, tiles_[t].i, tiles_[t].j,
        svds[t].status == SvdStatus::not_finite ? "it holds NaN or infinity" : "its singular values did not converge");
  }
}

template <Device D>
void TileRun<D>::find_spectra(Queue<D>& queue) {
  values_ = to_device<D>(std::move(read_));
  sigma_ = Buffer<float, D>(sigma_at_.end);
  std::vector<TileSvd<D>> svds;
  for (std::size_t t = 0; t < tiles_.size(); ++t) svds.push_back(svd_of(t));
  kernels::tile_spectra<D>(queue, values_of_all(), svds, reduced_);
  check(svds);
  const HostView<float, D> sigma(queue, sigma_.data(), sigma_.size());
  spectra_.assign(sigma.data(), sigma.data() + sigma_.size());
}

template <Device D>
std::span<const float> TileRun<D>::spectrum(std::size_t t) const {
  return std::span(spectra_).subspan(static_cast<std::size_t>(sigma_at_.of[t]),
                                     static_cast<std::size_t>(tiles_[t].full_rank()));
}

/// A dense tile of full rank is what it was.
template <Device D>
bool TileRun<D>::keeps_values(std::size_t t, const TileChoice& choice) const {
  return choice.kind == Structure::dense && choice.rank == tiles_[t].full_rank();
}

template <Device D>
void TileRun<D>::find_vectors(Queue<D>& queue, Choices choices) {
  for (std::size_t t = 0; t < tiles_.size(); ++t) {
    ranks_[t] = keeps_values(t, choices[t]) ? 0 : choices[t].rank;
    u_at_.add(tiles_[t].height * ranks_[t]);
    vt_at_.add(ranks_[t] * tiles_[t].width);
  }
  u_ = Buffer<float, D>(u_at_.end);
  vt_ = Buffer<float, D>(vt_at_.end);
  std::vector<TileSvd<D>> svds;
  for (std::size_t t = 0; t < tiles_.size(); ++t) svds.push_back(svd_of(t));
  kernels::tile_vectors<D>(queue, values_of_all(), reduced_, svds);
  check(svds);
  reduced_ = {};
}

/// A dense tile of lower rank is its product, in the place of its values.
template <Device D>
void TileRun<D>::rebuild_truncated(Queue<D>& queue, Choices choices) {
  std::vector<TileSvd<D>> svds;
  std::vector<index_t> ranks;
  std::vector<MatrixView<float, D>> out;
  for (std::size_t t = 0; t < tiles_.size(); ++t) {
    if (choices[t].kind != Structure::dense || keeps_values(t, choices[t])) continue;
    svds.push_back(svd_of(t));
    ranks.push_back(choices[t].rank);
    out.push_back(values_in<float, D>(values_.data(), t));
  }
  kernels::tile_product<D>(queue, svds, ranks, out);
}

template <Device D>
std::vector<InterpolativeTile<D>> TileRun<D>::tiles_to_interpolate(Choices choices) {
  std::vector<InterpolativeTile<D>> tiles;
  for (std::size_t t = 0; t < tiles_.size(); ++t) {
    if (choices[t].kind != Structure::interpolative) continue;
    const TileSvd<D> svd = svd_of(t);
    InterpolativeTile<D>& tile = tiles.emplace_back();
    tile.u = svd.u;
    tile.sigma = svd.sigma;
    tile.vt = svd.vt;
  }
  return tiles;
}

template <Device D>
void TileRun<D>::append_to(Queue<D>& queue, MatrixPart& part, Choices choices, const CompressOptions& options) {
  find_vectors(queue, choices);
  rebuild_truncated(queue, choices);
  const InterpolativeTiles<D> interpolative(queue, tiles_to_interpolate(choices));
  // What the host needs of the rest.
  const auto has = [&](Structure kind) {
    return std::any_of(choices.begin(), choices.end(), [&](const TileChoice& choice) { return choice.kind == kind; });
  };
  const bool needs_values = has(Structure::dense) || options.keeps_vectors(), needs_factors = has(Structure::low_rank);
  const HostView<float, D> values(queue, values_.data(), needs_values ? values_.size() : 0);
  const HostView<float, D> u(queue, u_.data(), needs_factors ? u_.size() : 0);
  const HostView<float, D> vt(queue, vt_.data(), needs_factors ? vt_.size() : 0);
  std::vector<TileNumbers> numbers;
  std::size_t next_interpolative = 0;
  for (std::size_t t = 0; t < tiles_.size(); ++t) {
    TileNumbers& tile = numbers.emplace_back();
    tile.spectrum = spectrum(t);
    tile.sigma = tile.spectrum.data();
    if (needs_values) tile.values = values_in<const float, Device::cpu>(values.data(), t);
    if (choices[t].kind == Structure::low_rank && ranks_[t] > 0) {
      tile.u = {u.data() + u_at_.of[t], tiles_[t].height, ranks_[t]};
      tile.vt = {vt.data() + vt_at_.of[t], ranks_[t], tiles_[t].width};
    }
    if (choices[t].kind == Structure::interpolative) tile.interpolative = interpolative[next_interpolative++];
  }
  Queue<Device::cpu> host(queue.threads());
  append_tiles(host, part, choices, numbers, options.codec);
  if (!options.keeps_vectors()) return;
  for (const TileNumbers& tile : numbers) append_numbers(part.values, tile.values, options.values_type);
}

template class TileRun<Device::cpu>;
template class TileRun<Device::cuda>;

}  // namespace hack::svd
