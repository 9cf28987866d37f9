#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/journal.hpp"
#include "kernels/matrix_view.hpp"
#include "kernels/queue.hpp"
#include "svd/archive_info.hpp"
#include "svd/compression_summary.hpp"

namespace hack::svd {

/// A matrix to compress. `read` fills `out` with the block that starts at (row, col); called on one thread, for the
/// tiles of this rank only.
struct MatrixSource {
  std::string name;
  index_t rows = 0;
  index_t cols = 0;
  std::function<void(index_t row, index_t col, MatrixView<float> out)> read;
};

struct CompressReport {
  std::vector<CompressionSummary> matrices;  ///< as given
  CompressionSummary total;
  double seconds_reading = 0;  ///< these three: of the rank that took longest
  double seconds_factorizing = 0;
  double seconds_writing = 0;
};

/// Told of progress on every rank: tiles done, an estimate from this rank's share, out of all tiles.
using Progress = std::function<void(index_t done, index_t total)>;

/// Compresses matrices into a factor archive at `output`. Collective; every rank gives the same arguments. Archive and
/// report (but for the seconds) are the same to the byte for any number of ranks and threads.
///
/// Matrices go in batches: consecutive ones as long as they have at most 2^21 numbers a rank, at least one. The tiles
/// of a batch are dealt as contiguous ranges of about equal cost h w min(h, w):
///
///     batch    | matrix 0: tiles 0 1 2 3 4 5 | matrix 1: tiles 0 1 2 |
///     rank     | 0 0 0 0 1 1                 | 1 1 2                 |   …
///
/// Each rank reads, factorizes and encodes its own; the ranks' tables are gathered (and under `keep` the spectra, so
/// that all compute the same allocation), then all write. Memory of all ranks together: at most six f32 copies of a
/// batch (tiles, reduced forms, both factors, what is written, its record), that is 48 MiB a rank or six times the
/// largest matrix. In mode full one rank holds a matrix.
///
/// An Error on every rank, naming tensor and tile, where a tile holds NaN or infinity, does not converge or does not
/// fit the factor type; nothing is left behind then. With a journal each batch is a step: those it has are written from
/// it, those made are added to it.
CompressReport compress(const comm::Communicator& comm, Queue<Device::cpu>& queue,
                        std::span<const MatrixSource> sources, const CompressOptions& options,
                        const ArchiveHeader& header, const std::filesystem::path& output, const Progress& progress = {},
                        comm::Journal* journal = nullptr);

}  // namespace hack::svd
