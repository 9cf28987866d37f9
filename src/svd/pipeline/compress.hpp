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
#include "svd/archive/archive_info.hpp"
#include "svd/pipeline/compression_summary.hpp"

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
  double seconds_reading = 0;  ///< that tiles were waited for; these three: of the rank that took longest
  double seconds_factorizing = 0;
  double seconds_writing = 0;
  std::vector<double> idle_shares;  ///< of each rank: of its time, what it waited for others
  index_t memory = 0;               ///< most bytes that any rank held by the formula below
  index_t gpu_memory = 0;           ///< likewise of a GPU's
};

/// Told of progress on every rank: tiles done, an estimate from this rank's share, out of all tiles.
using Progress = std::function<void(index_t done, index_t total)>;

/// Compresses matrices into a factor archive at `output`, factors found on D. Collective; every rank gives the same
/// arguments. Archive and report (but for seconds, idle shares and memory) are the same to the byte for any number of
/// ranks and threads; on another device they are the same to rounding.
///
/// Matrices go in batches: consecutive ones as long as they have at most 2^21 numbers a rank, at least one; in mode
/// full, where a rank holds whole matrices, as many as there are ranks. The tiles of a batch are dealt as contiguous
/// ranges of about equal time, by their cost h w min(h, w) and what each rank took for its last ones:
///
///     batch    | matrix 0: tiles 0 1 2 3 4 5 | matrix 1: tiles 0 1 2 |
///     rank     | 0 0 0 0 1 1                 | 1 1 2                 |   …
///
/// Each rank reads, factorizes and encodes its own; the ranks' tables are gathered (and under `keep` the spectra, so
/// that all compute the same allocation), then all write. Meanwhile the tiles of the next batch are read, and the
/// record of the last is written to the journal:
///
///     read      | b + 1       | b + 2       |
///     factorize | b           | b + 1       |
///     record    | b - 1       | b           |
///
/// A rank holds at most encoded(b - 1) + values(b + 1) + max(values(b) + working(b), encoded(b)) bytes, see
/// BatchMemory: about (12 + e) bytes for each of its numbers in a batch, with e bytes a number of the factor type, and
/// 3 MiB a thread; what the process had before, and a few MiB of MPI and HDF5, come on top. `memory` above 0 keeps
/// batches so short that this, and on a GPU what they take there, is not exceeded; an Error where one matrix alone
/// exceeds it.
///
/// An Error on every rank, naming tensor and tile, where a tile holds NaN or infinity, does not converge or does not
/// fit the factor type; nothing is left behind then. With a journal each batch is a step: those it has are written from
/// it, those made are added to it.
template <Device D>
CompressReport compress(const comm::Communicator& comm, Queue<D>& queue, std::span<const MatrixSource> sources,
                        const CompressOptions& options, const ArchiveHeader& header,
                        const std::filesystem::path& output, const Progress& progress = {},
                        comm::Journal* journal = nullptr, index_t memory = 0);

}  // namespace hack::svd
