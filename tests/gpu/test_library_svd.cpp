// Tile SVDs in a thread block beside those of NVIDIA's libraries: the same spectra; and how long both take, which is
// printed and never judged.

#include <algorithm>
#include <chrono>
#include <cmath>

#include <gtest/gtest.h>

#include "tests/gpu/device_data.hpp"
#include "tests/gpu/library_svd.hpp"
#include "tests/kernels/random_data.hpp"

namespace hack::kernels {
namespace {

constexpr Device G = Device::cuda;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

TEST(GpuLibrarySvd, FindsTheSameSpectra) {
  const index_t count = 4096, n = 128;
  const std::vector<float> numbers = tests::random_floats(count * n * n, 1);
  const tests::DeviceMatrix<> tiles(numbers, count * n, n);
  tests::DeviceMatrix<> u(count * n, n), sigma(count, n), vt(count * n, n);
  std::vector<MatrixView<const float, G>> in;
  std::vector<TileSvd<G>> out;
  for (index_t t = 0; t < count; ++t) {
    in.push_back(tiles.in().rows_from(t * n, n));
    out.push_back({u.view().rows_from(t * n, n), sigma.view().row(t), vt.view().rows_from(t * n, n)});
  }
  Queue<G> queue(1);
  tests::LibrarySvd library(queue, count, n, n);
  double jacobi_seconds = 0, library_seconds = 0;
  for (int run = 0; run < 2; ++run) {  // the first warms up
    Clock::time_point start = Clock::now();
    tile_svd<G>(queue, in, out);
    jacobi_seconds = seconds_since(start);
    start = Clock::now();
    library.factorize(tiles.data());
    library_seconds = seconds_since(start);
  }
  std::vector<float> squares(count * n);
  copy_to_host<G>(squares.data(), library.squares().data(), squares.size() * sizeof(float));
  const std::vector<float> found = sigma.host();
  for (index_t t = 0; t < count; ++t) {
    ASSERT_EQ(out[t].status, SvdStatus::ok);
    const double first = found[t * n];
    for (index_t i = 0; i < n; ++i) {
      const double square = std::max(squares[t * n + n - 1 - i], 0.0f);
      // Squares in f32: off by some eps of the largest.
      ASSERT_NEAR(double{found[t * n + i]} * found[t * n + i], square, 2e-5 * first * first) << t << ", " << i;
    }
  }
  RecordProperty("jacobi_tiles_per_second", static_cast<int>(count / jacobi_seconds));
  RecordProperty("library_tiles_per_second", static_cast<int>(count / library_seconds));
  printf("tiles of 128 x 128 with all vectors: %.0f/s by Jacobi, %.0f/s by XsyevBatched\n", count / jacobi_seconds,
         count / library_seconds);
}

}  // namespace
}  // namespace hack::kernels
