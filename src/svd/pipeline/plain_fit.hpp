#pragma once

#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/queue.hpp"
#include "svd/archive/archive_info.hpp"
#include "svd/pipeline/fit.hpp"
#include "svd/pipeline/matrix_source.hpp"
#include "svd/tile/range.hpp"

namespace hack::svd {

/// Truncates the SVD of each tile of the weights themselves: inputs count as independent and alike (H = I). Factors are
/// found on D. Archive and report (but for seconds, idle shares and memory) are the same to the byte for any number of
/// ranks and threads; on another device they are the same to rounding.
///
/// A step is a batch of consecutive matrices that have together at most 2^21 numbers a rank, at least one matrix; in
/// mode full, where a rank holds whole matrices, as many as there are ranks. The tiles of a batch are dealt as
/// contiguous ranges of about equal time, by their cost h w min(h, w) and what each rank took for its last ones:
///
///     batch    | matrix 0: tiles 0 1 2 3 4 5 | matrix 1: tiles 0 1 2 |
///     rank     | 0 0 0 0 1 1                 | 1 1 2                 |   …
///
/// Each rank reads, factorizes and encodes its own; the choices are gathered (and under a budget the spectra, so that
/// all ranks compute the same allocation). A rank holds about (12 + e) bytes for each of its numbers in a batch, with e
/// bytes a number of the factor type, and 3 MiB a thread; see bytes_held() and memory_of().
///
/// An Error names tensor and tile where a tile holds NaN or infinity, does not converge or does not fit the factor
/// type.
template <Device D>
class PlainFit : public Fit {
 public:
  /// The references outlive this. `memory` above 0: bytes of the host, and of a GPU, that a rank may take; batches are
  /// so short that these are not exceeded. An Error where a matrix is given twice.
  PlainFit(const comm::Communicator& comm, Queue<D>& queue, std::vector<MatrixSource> sources,
           const CompressOptions& options, index_t memory = 0);

  const CompressOptions& storage() const override { return options_; }
  /// Tiles.
  index_t size() const override { return tiles_; }
  /// A MemoryError where one matrix alone takes more than there may be taken.
  std::unique_ptr<FitStep> next() override;

 private:
  class Batch;

  bool fits_memory(const std::vector<TileGrid>& grids, const MatrixSource& last) const;
  void balance(double cost, double seconds);

  const comm::Communicator& comm_;
  Queue<D>& queue_;
  std::vector<MatrixSource> sources_;
  CompressOptions options_;
  index_t memory_;
  std::vector<double> shares_;  // (ranks) of the work
  index_t tiles_ = 0;           // of all matrices
  std::size_t first_ = 0;       // matrix of the next batch
};

}  // namespace hack::svd
