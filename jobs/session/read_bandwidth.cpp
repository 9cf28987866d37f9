#include "jobs/session/read_bandwidth.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "comm/collectives.hpp"
#include "kernels/buffer.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::jobs {

namespace {

/// Integers, because their sum has no latency to wait for; four sums keep the loop out of the way. Lines are asked for
/// a page ahead, as the products with weights do: where memory is far a core reads a tenth to a quarter faster with it.
using Pair = std::uint64_t __attribute__((vector_size(16)));

std::uint64_t sum_of(const std::uint64_t* numbers, index_t lines) {
  const auto* pair = reinterpret_cast<const Pair*>(numbers);
  Pair a{}, b{}, c{}, d{};
  for (index_t i = 0; i < lines; ++i, pair += 4) {
    __builtin_prefetch(reinterpret_cast<const char*>(pair) + 4096);
    a += pair[0];
    b += pair[1];
    c += pair[2];
    d += pair[3];
  }
  a += b + c + d;
  return a[0] + a[1];
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
    const Stopwatch watch;
    std::uint64_t sum = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : sum)
    for (index_t p = 0; p < pieces; ++p) sum += sum_of(data.data() + p * lines * 8, lines);
    HACK_EXPECT(sum == static_cast<std::uint64_t>(n));
    const double seconds = comm::all_reduce_max(world, watch.seconds());
    rates.push_back(static_cast<double>(n) * 8 * world.size() / seconds);
  }
  return *std::max_element(rates.begin(), rates.end());
}

}  // namespace hack::jobs
