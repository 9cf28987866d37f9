#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <span>

#include "comm/communicator.hpp"
#include "comm/journal.hpp"
#include "kernels/queue.hpp"
#include "svd/archive/archive_info.hpp"
#include "svd/pipeline/compress_report.hpp"
#include "svd/pipeline/fit.hpp"
#include "svd/pipeline/matrix_source.hpp"

namespace hack::svd {

/// Told of progress on every rank: an estimate from this rank's share, out of the fit's size; and the rank that has
/// waited least for others, if waiting times differ so far by more than a fiftieth of the time.
using Progress = std::function<void(index_t done, index_t total, std::optional<int> slowest)>;

/// Where a compression goes, and what goes along with it.
struct Destination {
  ArchiveHeader header;
  std::filesystem::path output;
  Progress progress = {};
  comm::Journal* journal = nullptr;  ///< steps it has are not made again, those made are added; may be null
};

/// Compresses matrices into a factor archive, by any fit. Collective; every rank gives the same arguments. Each step of
/// the fit goes
///
///     matrices ─ read ahead, by a thread of its own, while the step before is made      FitStep::reading
///       └ tiles of this rank, in the forms chosen                                       FitStep::make
///           └ parts: the archive at once, all ranks together                            FactorArchiveWriter
///               └ parts and report: the journal, by another thread                      comm::Journal
///     recorded steps ─ the journal's parts and report, nothing read or made             Fit::resume
///
/// so that three steps are on their way, or two where the next begins from the state that one leaves:
///
///     read      | b + 1       | b + 2       |
///     make      | b           | b + 1       |
///     record    | b - 1       | b           |
///
/// A rank holds at most bytes_held(b - 1, b, b + 1) bytes; what the process had before, and a few MiB of MPI and HDF5,
/// come on top. An Error on every rank where one of them meets it; nothing is left behind then but the journal's steps.
/// An archive resumed from a journal is the same to the byte as one whose run was never ended.
CompressReport compress(const comm::Communicator& comm, Fit& fit, const Destination& to);

/// The same by the plain fit, see PlainFit.
template <Device D>
CompressReport compress(const comm::Communicator& comm, Queue<D>& queue, std::span<const MatrixSource> sources,
                        const CompressOptions& options, const Destination& to, index_t memory = 0);

}  // namespace hack::svd
