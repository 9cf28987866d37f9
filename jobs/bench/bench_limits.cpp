#include "jobs/bench/bench_limits.hpp"

#include <algorithm>
#include <vector>

#include "jobs/bench/bench_timing.hpp"
#include "jobs/session/read_bandwidth.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/linear.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::jobs {
namespace {

double measure_gpu_bandwidth(Queue<Device::cuda>& queue) {
  constexpr index_t n = index_t{1} << 26;
  constexpr int repeats = 10;
  const std::vector<float> zeros(static_cast<std::size_t>(n));
  const auto x = to_device<Device::cuda>(zeros.data(), n);
  auto y = to_device<Device::cuda>(zeros.data(), n);
  double best = 0;
  for (int r = 0; r < repeats; ++r) {
    queue.wait();
    const Stopwatch watch;
    kernels::add<Device::cuda>(queue, {x.data(), 1024, n / 1024}, {y.data(), 1024, n / 1024});
    queue.wait();
    best = std::max(best, 3.0 * static_cast<double>(x.bytes()) / watch.seconds());
  }
  return best;
}

}  // namespace

template <>
double measure_bandwidth<Device::cuda>(const comm::Communicator& world, Queue<Device::cuda>& queue) {
  return comm::all_reduce_sum(world, measure_gpu_bandwidth(queue));
}

template <>
double measure_bandwidth<Device::cpu>(const comm::Communicator& world, Queue<Device::cpu>& queue) {
  return measure_read_bandwidth(world, queue.threads());
}

template <Device D>
double measure_product_rate(const comm::Communicator& world, Queue<D>& queue, DType type) {
  constexpr index_t tokens = 512, in = 576, out = 3072;
  constexpr int repeats = 7;
  WeightMatrix<D> w(out, in, type);
  const std::vector<float> ones(static_cast<std::size_t>(std::max(tokens, out) * in), 1.0f);
  std::vector<std::byte> narrow(static_cast<std::size_t>(w.bytes()));
  convert(ones.data(), DType::f32, narrow.data(), type, out * in);
  kernels::copy_from_host<D>(w.data(), narrow.data(), narrow.size());
  const auto x = to_device<D>(ones.data(), tokens * in);
  Buffer<float, D> y(tokens * out);
  double least = 0;
  for (int r = 0; r < repeats; ++r) {
    const double seconds = time_together(world, [&] {
      kernels::linear<D>(queue, {x.data(), tokens, in}, w.view(), {y.data(), tokens, out});
      queue.wait();
    });
    least = r == 0 ? seconds : std::min(least, seconds);
  }
  return 2.0 * tokens * in * out * world.size() / least;
}

template double measure_product_rate(const comm::Communicator&, Queue<Device::cpu>&, DType);
template double measure_product_rate(const comm::Communicator&, Queue<Device::cuda>&, DType);

}  // namespace hack::jobs
