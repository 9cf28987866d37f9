#pragma once

#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "comm/communicator.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/pipeline/matrix_source.hpp"
#include "svd/pipeline/tile_deal.hpp"
#include "svd/pipeline/tile_run.hpp"

namespace hack::svd {

/// A few matrices on their way through PlainFit: which of their tiles are this rank's, and what is known of them.
/// The steps are called once each, in the order they stand here.
template <Device D>
class TileBatch {
 public:
  /// Takes the tiles with the numbers of `own`; the ranks' numbers follow each other in rank order. `threads`: of the
  /// queue.
  TileBatch(std::span<const MatrixSource> sources, const CompressOptions& options, Range own, int threads);

  /// What this rank's tiles cost; see `cost_of`.
  double cost() const;

  /// Reads this rank's tiles. A thread of its own may do it.
  void read();

  /// Finds the spectra of this rank's tiles, some at a time; `progress` is told the share done. An Error
  /// names tensor and tile.
  void find_spectra(Queue<D>& queue, const std::function<void(double share)>& progress);

  /// Decides the ranks of all tiles. Collective.
  void choose(const comm::Communicator& comm);

  /// Finds the singular vectors that are kept, and returns this rank's part of every matrix in the factor type; some
  /// tiles at a time, whose memory is given back.
  std::vector<MatrixPart> encode(Queue<D>& queue);

  /// What all tiles of the m-th matrix became.
  std::span<const TileChoice> choices(std::size_t m) const;

 private:
  /// Tiles of this rank that are of one matrix and not too many.
  struct OwnRun {
    std::size_t matrix;
    Range numbers;  // in the batch
    TileRun<D> tiles;
  };

  std::span<const TileChoice> choices(const Range& numbers) const {
    return std::span(choices_).subspan(static_cast<std::size_t>(numbers.begin),
                                       static_cast<std::size_t>(numbers.size()));
  }
  MatrixPart empty_part(std::size_t m) const;

  std::span<const MatrixSource> sources_;
  CompressOptions options_;
  Range own_;
  std::vector<TileGrid> grids_;       // (matrices)
  std::vector<index_t> first_tiles_;  // (matrices + 1) number in the batch of each matrix's first tile
  std::deque<OwnRun> runs_;           // this rank's tiles
  std::vector<TileChoice> choices_;   // (tiles of the batch)
};

}  // namespace hack::svd
