#include "jobs/read_bandwidth.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "comm/collectives.hpp"
#include "kernels/buffer.hpp"

namespace hack::jobs {

namespace {

/// A cache line of integers: their sum has no latency to wait for, and two lines a step keep the loop out of the way.
using Line = std::uint64_t __attribute__((vector_size(64)));

std::uint64_t sum_of(const std::uint64_t* numbers, index_t lines) {
  const auto* line = reinterpret_cast<const Line*>(numbers);
  Line even{}, odd{};
  for (index_t i = 0; i + 1 < lines; i += 2) {
    even += line[i];
    odd += line[i + 1];
  }
  if (lines % 2 == 1) even += line[lines - 1];
  even += odd;
  std::uint64_t sum = 0;
  for (int lane = 0; lane < 8; ++lane) sum += even[lane];
  return sum;
}

}  // namespace

double measure_read_bandwidth(const comm::Communicator& world, int threads) {
  constexpr index_t all_numbers = index_t{1} << 26;  // 512 MiB, above every cache
  constexpr int repeats = 5;
  const index_t pieces = 1024;
  const index_t lines = all_numbers / world.size() / pieces / 8;
  const index_t n = pieces * lines * 8;
  Buffer<std::uint64_t> data(n);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (index_t i = 0; i < n; ++i) data.data()[i] = 1;
  std::vector<double> rates;
  for (int r = 0; r < repeats; ++r) {
    world.barrier();
    const double start = MPI_Wtime();
    std::uint64_t sum = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : sum)
    for (index_t p = 0; p < pieces; ++p) sum += sum_of(data.data() + p * lines * 8, lines);
    HACK_EXPECT(sum == static_cast<std::uint64_t>(n));
    const double seconds = comm::all_reduce_max(world, MPI_Wtime() - start);
    rates.push_back(static_cast<double>(n) * 8 * world.size() / seconds);
  }
  return *std::max_element(rates.begin(), rates.end());
}

}  // namespace hack::jobs
