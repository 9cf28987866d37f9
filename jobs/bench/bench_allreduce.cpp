#include "jobs/bench/bench_allreduce.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <nlohmann/json.hpp>

#include "jobs/session/option_checks.hpp"
#include "comm/collectives.hpp"
#include "kernels/buffer.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::jobs {
namespace {

using comm::Communicator;

/// The value that `share` of the numbers are not above.
double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double last = static_cast<double>(values.size() - 1);
  return values[static_cast<std::size_t>(std::lround(share * last))];
}

double median(const std::vector<double>& values) { return quantile(values, 0.5); }

/// One vector on every rank, of whole numbers so that every order of adding gives the same bits, and timed work on it.
class Vectors {
 public:
  Vectors(const Communicator& world, index_t n) : world_(world), n_(n), from_(n), stream_(n), x_(n), y_(n) {
    for (index_t i = 0; i < n; ++i) {
      from_.data()[i] = static_cast<float>((i * 7 + world.rank() * 13) % 1000);
      stream_.data()[i] = static_cast<float>(i % 100);
    }
    sum_.assign(from_.data(), from_.data() + n);
    comm::all_reduce_sum_by_mpi(world, sum_);
  }

  float* x() { return x_.data(); }
  float* y() { return y_.data(); }
  index_t size() const { return n_; }

  /// Seconds of each of `calls` calls from when all ranks have come, of the slowest rank. `work` sums y over the ranks;
  /// `adds`: and adds that to x.
  template <class Work>
  std::vector<double> time(int calls, bool adds, const Work& work) {
    std::vector<float> seconds(calls);
    bool right = true;
    float start_signal = 0;
    world_.barrier();
    for (float& once : seconds) {
      std::copy_n(from_.data(), n_, y());
      std::copy_n(stream_.data(), n_, x());
      comm::all_reduce_sum(world_, std::span(&start_signal, 1));
      const Stopwatch watch;
      work();
      once = static_cast<float>(watch.seconds());
      for (index_t i = 0; i < n_; ++i) {
        right &= adds ? x()[i] == sum_[i] + stream_.data()[i] : y()[i] == sum_[i];
      }
    }
    validate(comm::all_reduce_sum(world_, right ? 0.0 : 1.0) == 0, "sums of {} numbers are wrong; report it", n_);
    comm::all_reduce_max(world_, std::span(seconds));
    return {seconds.begin(), seconds.end()};
  }

 private:
  const Communicator& world_;
  index_t n_;
  Buffer<float> from_;      // (n)
  Buffer<float> stream_;    // (n)
  std::vector<float> sum_;  // (n)
  Buffer<float> x_;         // (n)
  Buffer<float> y_;         // (n)
};

struct Times {
  std::vector<double> all;      // of each call
  std::vector<double> medians;  // of each repeat

  void add(const std::vector<double>& calls) {
    all.insert(all.end(), calls.begin(), calls.end());
    medians.push_back(median(calls));
  }
};

double median_ratio(const Times& above, const Times& below) {
  std::vector<double> ratios;
  for (std::size_t r = 0; r < above.medians.size(); ++r) ratios.push_back(above.medians[r] / below.medians[r]);
  return median(ratios);
}

std::string way_of(const Communicator& world) { return world.shared() != nullptr ? "shared memory" : "MPI"; }

nlohmann::json bench(const Session& session, index_t n, int repeats) {
  const Communicator& world = session.world();
  Queue<Device::cpu> queue(session.threads());
  Vectors vectors(world, n);
  Vectors one(world, 1);
  const MatrixView<float> x(vectors.x(), 1, n), y(vectors.y(), 1, n), single(one.y(), 1, 1);
  constexpr index_t all_numbers = index_t{1} << 23;
  const int calls = static_cast<int>(std::clamp<index_t>(all_numbers / n, 20, 1000));
  Times sum, mpi, separate, fused, copy, latency;
  for (int r = -1; r < repeats; ++r) {
    if (r == 0) sum = mpi = separate = fused = copy = latency = {};  // the runs before were to warm up
    sum.add(vectors.time(calls, false, [&] { comm::all_reduce_sum<Device::cpu>(world, queue, y); }));
    mpi.add(vectors.time(calls, false, [&] {
      comm::all_reduce_sum_by_mpi(world, std::span(vectors.y(), static_cast<std::size_t>(n)));
    }));
    separate.add(vectors.time(calls, true, [&] {
      comm::all_reduce_sum<Device::cpu>(world, queue, y);
      kernels::add<Device::cpu>(queue, y, x);
    }));
    fused.add(vectors.time(calls, true, [&] { comm::add_all_reduced<Device::cpu>(world, queue, y, x); }));
    latency.add(one.time(calls, false, [&] { comm::all_reduce_sum<Device::cpu>(world, queue, single); }));
    std::vector<double> copies(calls);
    for (double& once : copies) {
      const Stopwatch watch;
      std::memcpy(vectors.x(), vectors.y(), static_cast<std::size_t>(n) * sizeof(float));
      once = watch.seconds();
    }
    copy.add(copies);
  }
  // Whatever the way, a rank hands over and takes (P - 1) / P of its vector before the sum, and as much after it.
  const double ranks = world.size();
  const double copy_seconds = comm::all_reduce_max(world, median(copy.medians));
  const double least = median(latency.medians) + 2 * (ranks - 1) / ranks * copy_seconds;
  const double bytes = static_cast<double>(n) * sizeof(float);
  const double seconds = median(sum.medians);
  return {{"part", "allreduce"},
          {"bytes", n * static_cast<index_t>(sizeof(float))},
          {"ranks", world.size()},
          {"threads", session.threads()},
          {"way", way_of(world)},
          {"calls", calls * repeats},
          {"seconds", seconds},
          {"seconds_p99", quantile(sum.all, 0.99)},
          {"mpi_seconds", median(mpi.medians)},
          {"mpi_seconds_p99", quantile(mpi.all, 0.99)},
          {"ratio", median_ratio(mpi, sum)},
          {"with_residual_seconds", median(fused.medians)},
          {"residual_ratio", median_ratio(separate, fused)},
          {"latency_seconds", median(latency.medians)},
          {"copy_gigabytes_per_second", bytes / copy_seconds * 1e-9},
          {"gigabytes_per_second", bytes / seconds * 1e-9},
          {"limit", bytes / least * 1e-9}};
}

void print(const nlohmann::json& row) {
  const auto micro = [&](const char* name) { return row[name].get<double>() * 1e6; };
  fmt::print("{:>9} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f} {:>6.2f} {:>9.2f} {:>7.2f} {:>7.2f} {:>7.2f}\n",
             row["bytes"].get<index_t>(), micro("seconds"), micro("seconds_p99"), micro("mpi_seconds"),
             micro("mpi_seconds_p99"), row["ratio"].get<double>(), micro("with_residual_seconds"),
             row["residual_ratio"].get<double>(), row["gigabytes_per_second"].get<double>(),
             row["limit"].get<double>());
}

}  // namespace

void AllreduceBench::add_options(CLI::App& app) {
  app.add_option("--bytes", bytes_, "Lengths of vectors of f32 numbers (1024 to 4194304, by fours)")
      ->delimiter(',')
      ->check(whole(4, 1L << 30))
      ->group("allreduce");
}

nlohmann::json AllreduceBench::run(const Session& session, int repeats) const {
  validate(session.options().device != "cuda", "bench allreduce times the CPU; leave --device out");
  const Communicator& world = session.world();
  const std::string way = way_of(world);
  if (world.is_root()) {
    fmt::print(
        "{} ranks, {}; us: median and p99 of a call, the slowest rank's; ratio: MPI_Allreduce to it; + add: with the "
        "residual added in the same pass, and what two passes take to that; limit: latency and copies\n",
        world.size(), way);
    fmt::print("{:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>9} {:>7} {:>7} {:>7}\n", "bytes", "us", "p99", "MPI", "p99",
               "ratio", "+ add", "ratio", "GB/s", "limit");
  }
  nlohmann::json rows = nlohmann::json::array();
  for (const long bytes : bytes_) {
    rows.push_back(bench(session, bytes / static_cast<long>(sizeof(float)), repeats));
    if (world.is_root()) print(rows.back());
  }
  return {{"rows", std::move(rows)}};
}

}  // namespace hack::jobs
