#include "svd/pipeline/tile_batch.hpp"

#include <algorithm>

#include "comm/collectives.hpp"
#include "svd/tile/tile_encoder.hpp"

namespace hack::svd {

template <Device D>
TileBatch<D>::TileBatch(std::span<const MatrixSource> sources, const CompressOptions& options, Range own, int threads)
    : sources_(sources), options_(options), own_(own), first_tiles_{0} {
  for (std::size_t m = 0; m < sources_.size(); ++m) {
    const TileGrid& grid = grids_.emplace_back(options_.grid(sources_[m].rows, sources_[m].cols));
    first_tiles_.push_back(first_tiles_.back() + grid.size());
    const Range here = intersect(own, {first_tiles_[m], first_tiles_[m + 1]});
    const index_t most = tiles_at_once(grid, D, threads);
    for (index_t begin = here.begin; begin < here.end; begin += most) {
      const Range numbers{begin, std::min(begin + most, here.end)};
      std::vector<Tile> tiles;
      for (index_t t = numbers.begin; t < numbers.end; ++t) tiles.push_back(grid.tile(t - first_tiles_[m]));
      runs_.push_back({m, numbers, TileRun<D>(sources_[m], std::move(tiles))});
    }
  }
}

template <Device D>
double TileBatch<D>::cost() const {
  double cost = 0;
  for (const OwnRun& run : runs_) {
    for (const Tile& tile : run.tiles.tiles()) cost += cost_of(tile);
  }
  return cost;
}

template <Device D>
void TileBatch<D>::read() {
  for (OwnRun& run : runs_) run.tiles.read();
}

template <Device D>
void TileBatch<D>::find_spectra(Queue<D>& queue, const std::function<void(double share)>& progress) {
  for (OwnRun& run : runs_) {
    run.tiles.find_spectra(queue);
    progress(static_cast<double>(run.numbers.end - own_.begin) / static_cast<double>(own_.size()));
  }
}

template <Device D>
void TileBatch<D>::choose(const comm::Communicator& comm) {
  std::vector<TileSpectrum> spectra;  // of this rank's tiles, or of a matrix
  std::vector<float> sigmas;          // likewise of this rank's, then of all tiles of the batch
  for (const OwnRun& run : runs_) {
    for (std::size_t t = 0; t < run.tiles.tiles().size(); ++t) {
      const Tile& tile = run.tiles.tiles()[t];
      spectra.push_back({tile.height, tile.width, run.tiles.spectrum(t)});
      sigmas.insert(sigmas.end(), spectra.back().sigma.begin(), spectra.back().sigma.end());
    }
  }
  if (options_.rule.kind != RankRule::Kind::keep) {
    const std::vector<TileChoice> mine = choose_ranks(options_.rule, spectra, options_.format());
    choices_ = comm::all_gather(comm, std::span<const TileChoice>(mine));
    return;
  }
  sigmas = comm::all_gather(comm, std::span<const float>(sigmas));
  std::size_t at = 0;
  for (const TileGrid& grid : grids_) {
    spectra.clear();
    for (index_t t = 0; t < grid.size(); ++t) {
      const Tile tile = grid.tile(t);
      const auto r = static_cast<std::size_t>(tile.full_rank());
      spectra.push_back({tile.height, tile.width, std::span<const float>(sigmas).subspan(at, r)});
      at += r;
    }
    const std::vector<TileChoice> chosen = choose_ranks(options_.rule, spectra, options_.format());
    choices_.insert(choices_.end(), chosen.begin(), chosen.end());
  }
}

/// With room for this rank's tiles of the m-th matrix.
template <Device D>
MatrixPart TileBatch<D>::empty_part(std::size_t m) const {
  // A rank without tiles of this matrix stands at one of its ends: nothing to write there.
  const index_t first = std::clamp<index_t>(own_.begin - first_tiles_[m], 0, grids_[m].size());
  MatrixPart part{.name = sources_[m].name, .grid = grids_[m], .first_tile = first};
  const Range here = intersect(own_, {first_tiles_[m], first_tiles_[m + 1]});
  if (here.size() == 0) return part;
  reserve_tiles(part, choices(here), options_.codec);
  index_t numbers = 0;
  for (index_t t = here.begin; t < here.end; ++t) {
    const Tile at = grids_[m].tile(t - first_tiles_[m]);
    numbers += at.height * at.width;
  }
  if (options_.keeps_vectors()) part.values.reserve(static_cast<std::size_t>(numbers * size_of(options_.values_type)));
  return part;
}

template <Device D>
std::vector<MatrixPart> TileBatch<D>::encode(Queue<D>& queue) {
  std::vector<MatrixPart> parts;
  for (std::size_t m = 0; m < grids_.size(); ++m) parts.push_back(empty_part(m));
  for (; !runs_.empty(); runs_.pop_front()) {
    OwnRun& run = runs_.front();
    run.tiles.append_to(queue, parts[run.matrix], choices(run.numbers), options_);
  }
  return parts;
}

template <Device D>
std::span<const TileChoice> TileBatch<D>::choices(std::size_t m) const {
  return choices(Range{first_tiles_[m], first_tiles_[m + 1]});
}

template class TileBatch<Device::cpu>;
template class TileBatch<Device::cuda>;

}  // namespace hack::svd
