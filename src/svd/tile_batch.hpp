#pragma once

#include <functional>
#include <span>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/buffer.hpp"
#include "kernels/tile_svd.hpp"
#include "svd/compress.hpp"
#include "svd/factor_archive_writer.hpp"
#include "svd/tile_deal.hpp"

namespace hack::svd {

/// A few matrices on their way through `compress`: which of their tiles are this rank's, and what is known of them.
/// The steps are called once each, in the order they stand here.
class TileBatch {
 public:
  /// Takes the tiles with the numbers of `own`; the ranks' numbers follow each other in rank order.
  TileBatch(std::span<const MatrixSource> sources, const CompressOptions& options, Range own);

  /// Tiles of the batch on all ranks.
  index_t size() const { return first_tiles_.back(); }

  /// What this rank's tiles cost; see `cost_of`.
  double cost() const;

  /// Reads this rank's tiles. A thread of its own may do it.
  void read();

  /// Finds the spectra of this rank's tiles, some at a time; `progress` is told the share done. An Error
  /// names tensor and tile.
  void find_spectra(Queue<Device::cpu>& queue, const std::function<void(double share)>& progress);

  /// Decides the ranks of all tiles. Collective.
  void choose(const comm::Communicator& comm);

  /// Finds the singular vectors that are kept, and returns this rank's part of every matrix in the factor type; some
  /// tiles at a time, whose memory is given back.
  std::vector<MatrixPart> encode(Queue<Device::cpu>& queue);

  /// What all tiles of the m-th matrix became.
  std::span<const TileChoice> choices(std::size_t m) const;

 private:
  struct LocalTile {
    std::size_t matrix = 0;
    Tile at;
    Buffer<float> values;  // (h, w)
    Buffer<float> sigma;   // (r)
    kernels::ReducedTile<Device::cpu> reduced;
    index_t vectors = 0;  // k, as many as its rank needs
    Buffer<float> u;      // (h, k)
    Buffer<float> vt;     // (k, w)

    MatrixView<float> values_view() { return {values.data(), at.height, at.width}; }
    kernels::TileSvd<Device::cpu> svd_view();
  };

  void check(const LocalTile& tile, kernels::SvdStatus status) const;
  /// Calls step(first, last) for runs of this rank's tiles that are of one matrix and not too many.
  template <class Step>
  void for_each_run(int threads, Step step);
  void find_vectors(Queue<Device::cpu>& queue, std::size_t first, std::size_t last);
  void rebuild_truncated(Queue<Device::cpu>& queue, std::size_t first, std::size_t last);
  TileChoice& choice_of(std::size_t local) { return choices_[static_cast<std::size_t>(first_local_) + local]; }

  std::span<const MatrixSource> sources_;
  CompressOptions options_;
  std::vector<TileGrid> grids_;       // (matrices)
  std::vector<index_t> first_tiles_;  // (matrices + 1) number in the batch of each matrix's first tile
  index_t first_local_ = 0;           // number in the batch of this rank's first tile
  std::vector<LocalTile> tiles_;      // (tiles of this rank)
  std::vector<TileChoice> choices_;   // (tiles of the batch)
};

}  // namespace hack::svd
