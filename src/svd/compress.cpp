#include "svd/compress.hpp"

#include <algorithm>
#include <chrono>
#include <set>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"
#include "svd/factor_archive_writer.hpp"
#include "svd/tile_batch.hpp"

namespace hack::svd {
namespace {

constexpr index_t batch_numbers = index_t{1} << 26;

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

/// Does this rank's part of a phase; an exception on one rank becomes the same Error on all, of the first rank that
/// failed. So all leave together, and none waits in a collective for one that is gone.
template <class F>
void do_together(const comm::Communicator& comm, F part) {
  std::string problem;
  try {
    part();
  } catch (const std::exception& error) {
    problem = std::string(error.what()) + '\n';
  }
  const std::vector<char> problems = comm::all_gather(comm, std::span<const char>(problem));
  if (!problems.empty()) throw Error(std::string(problems.begin(), std::find(problems.begin(), problems.end(), '\n')));
}

void check_sources(std::span<const MatrixSource> sources) {
  std::set<std::string_view> names;
  for (const MatrixSource& source : sources) {
    validate(names.insert(source.name).second, "matrix {} is given twice", source.name);
  }
}

/// Number of consecutive matrices from `first` on that make one batch.
std::size_t batch_length(std::span<const MatrixSource> sources, std::size_t first) {
  index_t numbers = 0;
  std::size_t length = 0;
  for (; first + length < sources.size(); ++length) {
    numbers += sources[first + length].rows * sources[first + length].cols;
    if (length > 0 && numbers > batch_numbers) break;
  }
  return length;
}

}  // namespace

CompressReport compress(const comm::Communicator& comm, Queue<Device::cpu>& queue,
                        std::span<const MatrixSource> sources, const CompressOptions& options,
                        const ArchiveHeader& header, const std::filesystem::path& output, const Progress& progress) {
  check_rank_rule(options.rule);
  check_sources(sources);
  index_t all_tiles = 0;
  for (const MatrixSource& source : sources) all_tiles += options.grid(source.rows, source.cols).size();

  CompressReport report;
  index_t done = 0;
  FactorArchiveWriter writer(comm, output, {header, options});
  for (std::size_t first = 0; first < sources.size();) {
    const std::size_t length = batch_length(sources, first);
    TileBatch batch(comm, sources.subspan(first, length), options);
    do_together(comm, [&] {
      const Stopwatch watch(report.seconds_reading);
      batch.read();
    });
    do_together(comm, [&] {
      const Stopwatch watch(report.seconds_factorizing);
      batch.find_spectra(queue, [&](double share) {
        const auto in_batch = static_cast<index_t>(share * static_cast<double>(batch.size()));
        if (progress) progress(done + in_batch, all_tiles);
      });
    });
    std::vector<MatrixPart> parts;
    {
      const Stopwatch watch(report.seconds_factorizing);
      batch.choose(comm);
    }
    do_together(comm, [&] {
      const Stopwatch watch(report.seconds_factorizing);
      parts = batch.encode(queue);
    });
    const Stopwatch watch(report.seconds_writing);
    for (std::size_t m = 0; m < length; ++m) {
      writer.write(parts[m]);
      report.matrices.push_back(summarize(parts[m].name, parts[m].grid, batch.choices(m), options));
    }
    done += batch.size();
    first += length;
  }
  {
    const Stopwatch watch(report.seconds_writing);
    writer.finish();
  }
  report.total = total_of(report.matrices);
  report.seconds_reading = comm::all_reduce_max(comm, report.seconds_reading);
  report.seconds_factorizing = comm::all_reduce_max(comm, report.seconds_factorizing);
  report.seconds_writing = comm::all_reduce_max(comm, report.seconds_writing);
  return report;
}

}  // namespace hack::svd
