#include "jobs/read_bandwidth.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "comm/collectives.hpp"
#include "kernels/buffer.hpp"

namespace hack::jobs {

// Integers, because their sum has no latency to wait for.
double measure_read_bandwidth(const comm::Communicator& world, int threads) {
  constexpr index_t all_numbers = index_t{1} << 26;  // 512 MiB, above every cache
  constexpr int repeats = 5;
  const index_t n = all_numbers / world.size();
  Buffer<std::uint64_t> data(n);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (index_t i = 0; i < n; ++i) data.data()[i] = 1;
  std::vector<double> rates;
  for (int r = 0; r < repeats; ++r) {
    world.barrier();
    const double start = MPI_Wtime();
    std::uint64_t sum = 0;
#pragma omp parallel for simd num_threads(threads) schedule(static) reduction(+ : sum)
    for (index_t i = 0; i < n; ++i) sum += data.data()[i];
    HACK_EXPECT(sum == static_cast<std::uint64_t>(n));
    const double seconds = comm::all_reduce_max(world, MPI_Wtime() - start);
    rates.push_back(static_cast<double>(n) * 8 * world.size() / seconds);
  }
  return *std::max_element(rates.begin(), rates.end());
}

}  // namespace hack::jobs
