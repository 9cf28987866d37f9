#include "svd/compress.hpp"

#include <algorithm>
#include <chrono>
#include <set>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "svd/do_together.hpp"
#include "svd/factor_archive_writer.hpp"
#include "svd/part_record.hpp"
#include "svd/tile_batch.hpp"

namespace hack::svd {
namespace {

/// Of a batch, for each rank: 128 tiles of 128 × 128, so that a killed run loses little.
constexpr index_t batch_numbers = index_t{1} << 21;

class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void check_sources(std::span<const MatrixSource> sources) {
  std::set<std::string_view> names;
  for (const MatrixSource& source : sources) {
    validate(names.insert(source.name).second, "matrix {} is given twice", source.name);
  }
}

/// Number of consecutive matrices from `first` on that make one batch of `ranks` ranks.
std::size_t batch_length(std::span<const MatrixSource> sources, std::size_t first, int ranks) {
  index_t numbers = 0;
  std::size_t length = 0;
  for (; first + length < sources.size(); ++length) {
    numbers += sources[first + length].rows * sources[first + length].cols;
    if (length > 0 && numbers > batch_numbers * ranks) break;
  }
  return length;
}

/// What a batch leaves: this rank's parts, and what became of all of it.
struct FinishedBatch {
  std::vector<MatrixPart> parts;
  std::vector<CompressionSummary> summaries;

  std::string record() const {
    comm::ByteWriter record;
    for (std::size_t m = 0; m < parts.size(); ++m) {
      put_part(record, parts[m]);
      put_summary(record, summaries[m]);
    }
    return record.bytes();
  }
  static FinishedBatch from(const std::string& bytes, std::size_t length) {
    comm::ByteReader record(bytes);
    FinishedBatch batch;
    for (std::size_t m = 0; m < length; ++m) {
      batch.parts.push_back(get_part(record));
      batch.summaries.push_back(get_summary(record));
    }
    return batch;
  }
};

class Compression {
 public:
  Compression(const comm::Communicator& comm, Queue<Device::cpu>& queue, const CompressOptions& options,
              comm::Journal* journal)
      : comm_(comm), queue_(queue), options_(options), journal_(journal) {}

  /// The batch of these matrices: from the journal where it is the step-th there, else made. `progress` is told the
  /// share done.
  FinishedBatch batch(index_t step, std::span<const MatrixSource> sources,
                      const std::function<void(double share)>& progress) {
    FinishedBatch done;
    if (journal_ != nullptr && step < journal_->steps()) {
      do_together(comm_, [&] { done = FinishedBatch::from(journal_->record(step), sources.size()); });
      return done;
    }
    done = make(sources, progress);
    if (journal_ != nullptr) {
      do_together(comm_, [&] {
        const Stopwatch watch(writing);
        journal_->append(done.record());
      });
    }
    return done;
  }

  double reading = 0;  ///< seconds
  double factorizing = 0;
  double writing = 0;

 private:
  FinishedBatch make(std::span<const MatrixSource> sources, const std::function<void(double share)>& progress) {
    TileBatch batch(comm_, sources, options_);
    do_together(comm_, [&] {
      const Stopwatch watch(reading);
      batch.read();
    });
    do_together(comm_, [&] {
      const Stopwatch watch(factorizing);
      batch.find_spectra(queue_, progress);
    });
    FinishedBatch done;
    {
      const Stopwatch watch(factorizing);
      batch.choose(comm_);
    }
    do_together(comm_, [&] {
      const Stopwatch watch(factorizing);
      done.parts = batch.encode(queue_);
    });
    for (std::size_t m = 0; m < sources.size(); ++m) {
      done.summaries.push_back(summarize(done.parts[m].name, done.parts[m].grid, batch.choices(m), options_));
    }
    return done;
  }

  const comm::Communicator& comm_;
  Queue<Device::cpu>& queue_;
  const CompressOptions& options_;
  comm::Journal* journal_;
};

}  // namespace

CompressReport compress(const comm::Communicator& comm, Queue<Device::cpu>& queue,
                        std::span<const MatrixSource> sources, const CompressOptions& options,
                        const ArchiveHeader& header, const std::filesystem::path& output, const Progress& progress,
                        comm::Journal* journal) {
  check_rank_rule(options.rule);
  check_sources(sources);
  const auto tiles_of = [&](std::span<const MatrixSource> part) {
    index_t tiles = 0;
    for (const MatrixSource& source : part) tiles += options.grid(source.rows, source.cols).size();
    return tiles;
  };
  const index_t all_tiles = tiles_of(sources);

  CompressReport report;
  Compression compression(comm, queue, options, journal);
  FactorArchiveWriter writer(comm, output, {header, options});
  index_t done = 0, step = 0;
  for (std::size_t first = 0; first < sources.size(); ++step) {
    const std::span<const MatrixSource> batch = sources.subspan(first, batch_length(sources, first, comm.size()));
    const index_t tiles = tiles_of(batch);
    FinishedBatch finished = compression.batch(step, batch, [&](double share) {
      if (progress) progress(done + static_cast<index_t>(share * static_cast<double>(tiles)), all_tiles);
    });
    const Stopwatch watch(compression.writing);
    for (const MatrixPart& part : finished.parts) writer.write(part);
    for (CompressionSummary& summary : finished.summaries) report.matrices.push_back(std::move(summary));
    done += tiles;
    first += batch.size();
  }
  {
    const Stopwatch watch(compression.writing);
    writer.finish();
  }
  report.total = total_of(report.matrices);
  report.seconds_reading = comm::all_reduce_max(comm, compression.reading);
  report.seconds_factorizing = comm::all_reduce_max(comm, compression.factorizing);
  report.seconds_writing = comm::all_reduce_max(comm, compression.writing);
  return report;
}

}  // namespace hack::svd
