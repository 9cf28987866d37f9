#include "svd/pipeline/compress.hpp"

#include <algorithm>
#include <chrono>
#include <future>
#include <optional>
#include <set>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "svd/pipeline/collective_try.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "svd/archive/part_record.hpp"
#include "svd/pipeline/tile_batch.hpp"

namespace hack::svd {
namespace {

/// Of a batch, for each rank, where memory does not ask for less: 128 tiles of 128 × 128, so that a killed run loses
/// little.
constexpr index_t batch_numbers = index_t{1} << 21;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { seconds_ += seconds_since(start_); }

 private:
  double& seconds_;
  Clock::time_point start_ = Clock::now();
};

void check_sources(std::span<const MatrixSource> sources) {
  std::set<std::string_view> names;
  for (const MatrixSource& source : sources) {
    validate(names.insert(source.name).second, "matrix {} is given twice", source.name);
  }
}

/// Consecutive matrices on their way, and what becomes of them.
template <Device D>
struct Batch {
  index_t step = 0;
  std::span<const MatrixSource> sources;
  std::vector<TileGrid> grids;
  std::vector<Range> dealt;  // (ranks)
  BatchMemory memory;
  bool is_recorded = false;           // in the journal
  std::optional<TileBatch<D>> tiles;  // where it is not
  std::future<void> reading;          // likewise
  std::vector<MatrixPart> parts;      // this rank's
  std::vector<CompressionSummary> summaries;

  /// What the journal keeps; `parts` and `summaries` stay as they are as long as it is in use.
  void put_into(io::PieceWriter& record) const {
    for (std::size_t m = 0; m < parts.size(); ++m) {
      put_part(record, parts[m]);
      put_summary(record, summaries[m]);
    }
  }
  void take_from(const std::string& bytes) {
    io::ByteReader record(bytes);
    for (std::size_t m = 0; m < sources.size(); ++m) {
      parts.push_back(get_part(record));
      summaries.push_back(get_summary(record));
    }
  }
  index_t size() const {
    index_t tiles_of_all = 0;
    for (const TileGrid& grid : grids) tiles_of_all += grid.size();
    return tiles_of_all;
  }
};

/// Takes matrices from their sources into an archive, batch after batch: while one is factorized the next is read, and
/// the last written to the journal, by threads of their own.
template <Device D>
class Compression {
 public:
  Compression(const comm::Communicator& comm, Queue<D>& queue, std::span<const MatrixSource> sources,
              const CompressOptions& options, index_t memory, const Progress& progress, comm::Journal* journal)
      : comm_(comm),
        queue_(queue),
        sources_(sources),
        options_(options),
        memory_(memory),
        progress_(progress),
        journal_(journal),
        recorded_(journal == nullptr ? 0 : journal->steps()),
        shares_(static_cast<std::size_t>(comm.size()), 1.0 / comm.size()) {
    for (const MatrixSource& source : sources_) all_tiles_ += options_.grid(source.rows, source.cols).size();
  }

  void run(FactorArchiveWriter& writer) {
    for (batch_ = next_batch(); batch_; batch_ = std::move(next_)) {
      make(*batch_);
      {
        const Stopwatch watch(writing);
        for (const MatrixPart& part : batch_->parts) writer.write(part);
      }
      for (const CompressionSummary& summary : batch_->summaries) summaries.push_back(summary);
      done_ += batch_->size();
      last_ = std::move(batch_);
    }
    finish_journaling();
  }

  std::vector<CompressionSummary> summaries;
  double reading = 0;  ///< seconds
  double factorizing = 0;
  double writing = 0;
  double waiting = 0;      ///< for other ranks
  index_t most_bytes = 0;  ///< that were held at once, by the formula
  index_t most_gpu_bytes = 0;

 private:
  using Grids = std::vector<TileGrid>;

  /// Consecutive matrices from the next one on that make one batch, dealt out; nothing after the last. Which ones does
  /// not depend on measured shares: a run that resumes makes the same batches.
  std::unique_ptr<Batch<D>> next_batch() {
    if (first_ == sources_.size()) return nullptr;
    auto batch = std::make_unique<Batch<D>>();
    index_t numbers = 0;
    for (std::size_t s = first_; s < sources_.size(); ++s) {
      Grids grids = batch->grids;
      grids.push_back(options_.grid(sources_[s].rows, sources_[s].cols));
      numbers += sources_[s].rows * sources_[s].cols;
      std::vector<Range> dealt = deal_tiles(grids, shares_);
      const std::vector<double> even(shares_.size(), 1.0);
      const BatchMemory need = memory_of(options_, grids, deal_tiles(grids, even), D, queue_.threads());
      const index_t bytes = std::max(bytes_of(need), need.gpu);
      // What a rank gets beyond an even share.
      const auto most = comm_.size() == 1 ? bytes : static_cast<index_t>(largest_share * static_cast<double>(bytes));
      // A rank holds whole matrices in mode full: as many as there are ranks take no more than one.
      const bool is_small = numbers <= batch_numbers * comm_.size() ||
                            (options_.mode == TileMode::full && std::ssize(grids) <= comm_.size());
      const bool fits = memory_ == 0 || most <= memory_;
      validate(
          s > first_ || fits,
          "--memory: {} takes {:.1f} MiB{} on each of {} ranks, of {:.1f} MiB that are left beside what the program "
          "takes; give more memory or more ranks",
          sources_[s].name, static_cast<double>(most) / 0x1p20, need.gpu == bytes ? " of the GPU's" : "", comm_.size(),
          static_cast<double>(memory_) / 0x1p20);
      if (s > first_ && !(is_small && fits)) break;
      batch->memory = memory_of(options_, grids, dealt, D, queue_.threads());
      batch->grids = std::move(grids);
      batch->dealt = std::move(dealt);
    }
    batch->sources = sources_.subspan(first_, batch->grids.size());
    batch->step = step_++;
    batch->is_recorded = batch->step < recorded_;
    first_ += batch->grids.size();
    if (!batch->is_recorded) {
      batch->tiles.emplace(batch->sources, options_, batch->dealt[static_cast<std::size_t>(comm_.rank())],
                           queue_.threads());
      batch->reading = std::async(std::launch::async, [tiles = &*batch->tiles] { tiles->read(); });
    }
    return batch;
  }

  /// Of a batch between others like it.
  static index_t bytes_of(const BatchMemory& memory) { return bytes_of(memory, memory, memory); }
  /// While it is factorized the last one's record is written and the next one's tiles are read; when it is encoded its
  /// tiles are gone.
  static index_t bytes_of(const BatchMemory& last, const BatchMemory& memory, const BatchMemory& next) {
    return last.encoded + next.values + std::max(memory.values + memory.working, memory.encoded);
  }

  void make(Batch<D>& batch) {
    if (batch.is_recorded) {
      collective_try([&] { batch.take_from(journal_->record(batch.step)); });
      next_ = next_batch();
      return;
    }
    collective_try([&] {
      const Stopwatch watch(reading);
      batch.reading.get();
    });
    next_ = next_batch();
    const BatchMemory none;
    most_bytes =
        std::max(most_bytes, bytes_of(last_ ? last_->memory : none, batch.memory, next_ ? next_->memory : none));
    most_gpu_bytes = std::max(most_gpu_bytes, batch.memory.gpu);
    const double before = factorizing;
    const double cost = batch.tiles->cost();
    collective_try([&] {
      const Stopwatch watch(factorizing);
      batch.tiles->find_spectra(queue_, [&](double share) {
        if (progress_) progress_(done_ + static_cast<index_t>(share * static_cast<double>(batch.size())), all_tiles_);
      });
    });
    {
      const Stopwatch watch(factorizing);
      batch.tiles->choose(comm_);
    }
    collective_try([&] {
      const Stopwatch watch(factorizing);
      batch.parts = batch.tiles->encode(queue_);
    });
    for (std::size_t m = 0; m < batch.sources.size(); ++m) {
      batch.summaries.push_back(summarize(batch.parts[m].name, batch.grids[m], batch.tiles->choices(m), options_));
    }
    batch.tiles.reset();
    balance(cost, factorizing - before);
    if (journal_ == nullptr) return;
    finish_journaling();
    journaling_ = std::async(std::launch::async, [this, &batch] {
      io::PieceWriter record;
      batch.put_into(record);
      journal_->append(record.pieces());
    });
  }

  void finish_journaling() {
    collective_try([&] {
      const Stopwatch watch(writing);
      if (journaling_.valid()) journaling_.get();
    });
  }

  void balance(double cost, double seconds) {
    const std::vector<double> costs = comm::all_gather(comm_, std::span<const double>(&cost, 1));
    const std::vector<double> times = comm::all_gather(comm_, std::span<const double>(&seconds, 1));
    shares_ = balanced_shares(shares_, costs, times);
  }

  template <class F>
  void collective_try(F part) {
    double own = 0;
    const Clock::time_point start = Clock::now();
    svd::collective_try(comm_, [&] {
      const Stopwatch watch(own);
      part();
    });
    waiting += seconds_since(start) - own;
  }

  const comm::Communicator& comm_;
  Queue<D>& queue_;
  std::span<const MatrixSource> sources_;
  const CompressOptions& options_;
  index_t memory_;
  const Progress& progress_;
  comm::Journal* journal_;
  index_t recorded_;            // steps in the journal
  std::vector<double> shares_;  // (ranks) of the work
  index_t all_tiles_ = 0;
  index_t done_ = 0;       // tiles
  std::size_t first_ = 0;  // matrix of the batch after next_
  index_t step_ = 0;       // number of the batch after next_
  // The thread that writes to the journal uses one of the first two: they outlive it.
  std::unique_ptr<Batch<D>> last_, batch_, next_;
  std::future<void> journaling_;
};

}  // namespace

template <Device D>
CompressReport compress(const comm::Communicator& comm, Queue<D>& queue, std::span<const MatrixSource> sources,
                        const CompressOptions& options, const ArchiveHeader& header,
                        const std::filesystem::path& output, const Progress& progress, comm::Journal* journal,
                        index_t memory) {
  check_rank_rule(options.rule);
  check_sources(sources);
  const Clock::time_point start = Clock::now();
  Compression<D> compression(comm, queue, sources, options, memory, progress, journal);
  FactorArchiveWriter writer(comm, output, {header, options});
  compression.run(writer);
  {
    const Stopwatch watch(compression.writing);
    writer.finish();
  }
  CompressReport report;
  report.matrices = std::move(compression.summaries);
  report.total = total_of(report.matrices);
  report.seconds_reading = comm::all_reduce_max(comm, compression.reading);
  report.seconds_factorizing = comm::all_reduce_max(comm, compression.factorizing);
  report.seconds_writing = comm::all_reduce_max(comm, compression.writing);
  const double idle = compression.waiting / seconds_since(start);
  report.idle_shares = comm::all_gather(comm, std::span<const double>(&idle, 1));
  report.memory = compression.most_bytes;
  report.gpu_memory = compression.most_gpu_bytes;
  return report;
}

#define HACK_INSTANTIATE(D)                                                                                    \
  template CompressReport compress(const comm::Communicator&, Queue<D>&, std::span<const MatrixSource>,        \
                                   const CompressOptions&, const ArchiveHeader&, const std::filesystem::path&, \
                                   const Progress&, comm::Journal*, index_t);
HACK_INSTANTIATE(Device::cpu)
HACK_INSTANTIATE(Device::cuda)

}  // namespace hack::svd
