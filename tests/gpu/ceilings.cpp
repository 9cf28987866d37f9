// What this GPU can do at most, by the program's own calls: a copy within its memory, a bf16 product of the library,
// and what a launch costs within a graph. Prints one JSON object.

#include <algorithm>
#include <vector>

#include <fmt/core.h>

#include "kernels/buffer.hpp"
#include "kernels/copy.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/linear.hpp"
#include "kernels/replay.hpp"
#include "kernels/stopwatch.hpp"

namespace hack::kernels {
namespace {

constexpr Device G = Device::cuda;

/// The median of seven timed runs, after two that are not counted.
template <class Run>
double median_seconds(Queue<G>& queue, const Run& run) {
  std::vector<double> seconds;
  for (int i = 0; i < 9; ++i) {
    queue.wait();
    const Stopwatch watch;
    run();
    queue.wait();
    if (i >= 2) seconds.push_back(watch.seconds());
  }
  std::nth_element(seconds.begin(), seconds.begin() + 3, seconds.end());
  return seconds[3];
}

double copy_bytes_per_second(Queue<G>& queue) {
  constexpr index_t bytes = index_t{2} << 30;
  const Buffer<std::byte, G> from(bytes);
  Buffer<std::byte, G> to(bytes);
  const double seconds = median_seconds(queue, [&] {
    copy_rows<G>(queue, to.data(), std::size_t{1} << 20, from.data(), std::size_t{1} << 20, std::size_t{1} << 20,
                 bytes >> 20);
  });
  return 2.0 * static_cast<double>(bytes) / seconds;
}

/// Of numbers as they come, not zeros, on which the units run faster than on data.
double product_flops(Queue<G>& queue) {
  constexpr index_t n = 4096;
  std::vector<float> numbers(static_cast<std::size_t>(n * n));
  std::uint32_t state = 1;
  for (float& x : numbers) {
    state = state * 1664525 + 1013904223;
    x = static_cast<float>(state >> 8) * 0x1p-23f - 1;
  }
  std::vector<bf16> narrow(numbers.size());
  std::transform(numbers.begin(), numbers.end(), narrow.begin(), to_bf16);
  const auto x = to_device<G>(numbers.data(), n * n);
  const auto w = to_device<G>(narrow.data(), n * n);
  Buffer<float, G> y(n * n);
  const double seconds = median_seconds(queue, [&] {
    linear<G>(queue, {x.data(), n, n}, {w.data(), Codec::bf16, n, n, n}, {y.data(), n, n});
  });
  return 2.0 * 2.0 * n * n * n / seconds;  // in two parts of x
}

double launch_seconds(Queue<G>& queue) {
  constexpr int launches = 1000;
  Buffer<float, G> x(32), y(32);
  Replay<G> replay(true);
  const auto add_all = [&] {
    for (int i = 0; i < launches; ++i) add<G>(queue, {x.data(), 1, 32}, {y.data(), 1, 32});
  };
  return median_seconds(queue, [&] { replay.run(queue, add_all); }) / launches;
}

void print() {
  Queue<G> queue(1);
  const double copied = copy_bytes_per_second(queue), product = product_flops(queue), launch = launch_seconds(queue);
  fmt::print(
      "{{\n  \"copy_bytes_per_second\": {:.4g},\n  \"product_flops\": {:.4g},\n  \"launch_seconds\": {:.4g}\n}}\n",
      copied, product, launch);
}

}  // namespace
}  // namespace hack::kernels

int main() {
  try {
    hack::kernels::print();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
