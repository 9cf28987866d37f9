#include "svd/tile_batch.hpp"

#include <algorithm>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "svd/tile_encoder.hpp"

namespace hack::svd {
namespace {

using kernels::ReducedTile;
using kernels::SvdStatus;
using kernels::TileKind;
using kernels::TileSvd;

}  // namespace

TileSvd<Device::cpu> TileBatch::LocalTile::svd_view() {
  return {{u.data(), at.height, vectors}, sigma.data(), {vt.data(), vectors, at.width}, SvdStatus::ok};
}

TileBatch::TileBatch(std::span<const MatrixSource> sources, const CompressOptions& options, Range own)
    : sources_(sources), options_(options), first_tiles_{0}, first_local_(own.begin) {
  for (std::size_t m = 0; m < sources_.size(); ++m) {
    grids_.push_back(options_.grid(sources_[m].rows, sources_[m].cols));
    first_tiles_.push_back(first_tiles_.back() + grids_.back().size());
    const Range here = intersect(own, {first_tiles_[m], first_tiles_[m + 1]});
    for (index_t t = here.begin; t < here.end; ++t) {
      tiles_.push_back({.matrix = m, .at = grids_[m].tile(t - first_tiles_[m])});
    }
  }
}

double TileBatch::cost() const {
  double cost = 0;
  for (const LocalTile& tile : tiles_) cost += cost_of(tile.at);
  return cost;
}

template <class Step>
void TileBatch::for_each_run(int threads, Step step) {
  for (std::size_t first = 0; first < tiles_.size();) {
    const std::size_t m = tiles_[first].matrix;
    const auto most = static_cast<std::size_t>(tiles_at_once(grids_[m], threads));
    std::size_t last = first;
    while (last < tiles_.size() && last - first < most && tiles_[last].matrix == m) ++last;
    step(first, last);
    first = last;
  }
}

void TileBatch::read() {
  for (LocalTile& tile : tiles_) {
    tile.values = Buffer<float>(tile.at.height * tile.at.width);
    sources_[tile.matrix].read(tile.at.row, tile.at.col, tile.values_view());
  }
}

void TileBatch::check(const LocalTile& tile, SvdStatus status) const {
  if (status == SvdStatus::ok) return;
  fail("tensor {}, tile ({}, {}) cannot be factorized ({}); check the checkpoint", sources_[tile.matrix].name,
       tile.at.i, tile.at.j,
       status == SvdStatus::not_finite ? "it holds NaN or infinity" : "its singular values did not converge");
}

void TileBatch::find_spectra(Queue<Device::cpu>& queue, const std::function<void(double share)>& progress) {
  for_each_run(queue.threads(), [&](std::size_t first, std::size_t last) {
    std::vector<MatrixView<const float>> in;
    std::vector<TileSvd<Device::cpu>> out;
    std::vector<ReducedTile<Device::cpu>> reduced(last - first);
    for (std::size_t t = first; t < last; ++t) {
      LocalTile& tile = tiles_[t];
      tile.sigma = Buffer<float>(tile.at.full_rank());
      in.push_back(tile.values_view());
      out.push_back(tile.svd_view());
    }
    kernels::tile_spectra<Device::cpu>(queue, in, out, reduced);
    for (std::size_t t = first; t < last; ++t) {
      check(tiles_[t], out[t - first].status);
      tiles_[t].reduced = std::move(reduced[t - first]);
    }
    progress(static_cast<double>(last) / static_cast<double>(tiles_.size()));
  });
}

void TileBatch::choose(const comm::Communicator& comm) {
  const bool by_budget = options_.rule.kind == RankRule::Kind::keep;
  std::vector<float> sigmas;  // spectra of this rank's tiles, then of all tiles of the batch
  std::vector<TileSpectrum> spectra;
  if (!by_budget) {
    for (const LocalTile& tile : tiles_) {
      const std::span<const float> sigma(tile.sigma.data(), static_cast<std::size_t>(tile.sigma.size()));
      spectra.push_back({tile.at.height, tile.at.width, sigma});
    }
    const std::vector<TileChoice> mine = choose_ranks(options_.rule, spectra, options_.format());
    choices_ = comm::all_gather(comm, std::span<const TileChoice>(mine));
    return;
  }
  for (const LocalTile& tile : tiles_)
    sigmas.insert(sigmas.end(), tile.sigma.data(), tile.sigma.data() + tile.sigma.size());
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

void TileBatch::find_vectors(Queue<Device::cpu>& queue, std::size_t first, std::size_t last) {
  std::vector<MatrixView<const float>> in;
  std::vector<TileSvd<Device::cpu>> out;
  std::vector<ReducedTile<Device::cpu>> reduced;
  for (std::size_t t = first; t < last; ++t) {
    LocalTile& tile = tiles_[t];
    const TileChoice& choice = choice_of(t);
    const bool keeps_values = choice.kind == TileKind::dense && choice.rank == tile.at.full_rank();
    tile.vectors = keeps_values ? 0 : choice.rank;
    tile.u = Buffer<float>(tile.at.height * tile.vectors);
    tile.vt = Buffer<float>(tile.vectors * tile.at.width);
    in.push_back(tile.values_view());
    out.push_back(tile.svd_view());
    reduced.push_back(std::move(tile.reduced));
  }
  kernels::tile_vectors<Device::cpu>(queue, in, reduced, out);
  for (std::size_t t = first; t < last; ++t) check(tiles_[t], out[t - first].status);
}

void TileBatch::rebuild_truncated(Queue<Device::cpu>& queue, std::size_t first, std::size_t last) {
  std::vector<TileSvd<Device::cpu>> svds;
  std::vector<index_t> ranks;
  std::vector<MatrixView<float>> out;
  for (std::size_t t = first; t < last; ++t) {
    const TileChoice& choice = choice_of(t);
    if (choice.kind != TileKind::dense || choice.rank == tiles_[t].at.full_rank()) continue;
    svds.push_back(tiles_[t].svd_view());
    ranks.push_back(choice.rank);
    out.push_back(tiles_[t].values_view());
  }
  kernels::tile_product<Device::cpu>(queue, svds, ranks, out);
}

std::vector<MatrixPart> TileBatch::encode(Queue<Device::cpu>& queue) {
  std::vector<MatrixPart> parts;
  for (std::size_t m = 0; m < grids_.size(); ++m) {
    // A rank without tiles of this matrix stands at one of its ends: nothing to write there.
    const index_t first = std::clamp<index_t>(first_local_ - first_tiles_[m], 0, grids_[m].size());
    MatrixPart& part = parts.emplace_back(MatrixPart{.name = sources_[m].name, .grid = grids_[m], .first_tile = first});
    std::vector<TileChoice> choices;
    index_t numbers = 0;
    for (std::size_t t = 0; t < tiles_.size(); ++t) {
      if (tiles_[t].matrix != m) continue;
      choices.push_back(choice_of(t));
      numbers += tiles_[t].at.height * tiles_[t].at.width;
    }
    reserve_tiles(part, choices, options_.factor_type);
    if (options_.keeps_vectors())
      part.values.reserve(static_cast<std::size_t>(numbers * size_of(options_.values_type)));
  }
  for_each_run(queue.threads(), [&](std::size_t first, std::size_t last) {
    find_vectors(queue, first, last);
    rebuild_truncated(queue, first, last);
    MatrixPart& part = parts[tiles_[first].matrix];
    std::vector<TileChoice> choices;
    std::vector<TileNumbers> numbers;
    for (std::size_t t = first; t < last; ++t) {
      LocalTile& tile = tiles_[t];
      const TileSvd<Device::cpu> svd = tile.svd_view();
      const std::span<const float> spectrum(tile.sigma.data(), static_cast<std::size_t>(tile.sigma.size()));
      choices.push_back(choice_of(t));
      numbers.push_back({tile.values_view(), svd.u, svd.sigma, svd.vt, spectrum});
    }
    append_tiles(queue, part, choices, numbers, options_.factor_type);
    for (const TileNumbers& tile : numbers) {
      if (options_.keeps_vectors()) append_numbers(part.values, tile.values, options_.values_type);
    }
    for (std::size_t t = first; t < last; ++t) {
      LocalTile& tile = tiles_[t];
      for (Buffer<float>* part_of : {&tile.values, &tile.sigma, &tile.u, &tile.vt}) *part_of = {};
    }
  });
  tiles_.clear();
  return parts;
}

std::span<const TileChoice> TileBatch::choices(std::size_t m) const {
  const auto first = static_cast<std::size_t>(first_tiles_[m]);
  const auto count = static_cast<std::size_t>(first_tiles_[m + 1]) - first;
  return std::span<const TileChoice>(choices_).subspan(first, count);
}

}  // namespace hack::svd
