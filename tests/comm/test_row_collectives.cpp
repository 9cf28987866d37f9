#include "comm/row_collectives.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "comm/residual_norm.hpp"
#include "kernels/elementwise.hpp"

namespace hack::comm {
namespace {

constexpr Device cpu = Device::cpu;

/// Numbers that differ between ranks and are exact in sums of a few.
std::vector<float> numbers(index_t n, int rank) {
  std::vector<float> out(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) out[static_cast<std::size_t>(i)] = static_cast<float>((i * 7 + rank * 5) % 31 - 15);
  return out;
}

TEST(RowCollectives, ScatterSumsAndGatherThemAgain) {
  const Communicator world = Communicator::world();
  Queue<cpu> queue(1);
  const int p = world.size();
  for (const index_t rows : {0, 1, 3}) {
    const index_t cols = 5, n = rows * cols;
    const std::vector<float> x = numbers(p * n, world.rank());
    std::vector<float> mine(static_cast<std::size_t>(n)), all(static_cast<std::size_t>(p * n)), expected = x;
    reduce_scatter_sum<cpu>(world, queue, {x.data(), p * rows, cols}, {mine.data(), rows, cols});
    all_gather_rows<cpu>(world, queue, {mine.data(), rows, cols}, {all.data(), p * rows, cols});
    all_reduce_sum(world, std::span<float>(expected));
    EXPECT_EQ(all, expected);
    const auto first = expected.begin() + world.rank() * n;
    EXPECT_EQ(mine, std::vector<float>(first, first + n));
  }
}

TEST(ResidualNorm, HasTheBitsOfItsSteps) {
  const Communicator world = Communicator::world();
  Queue<cpu> queue(1);
  const index_t rows = 3, cols = 37;
  std::vector<float> y = numbers(rows * cols, world.rank()), x = numbers(rows * cols, 100), normed(x.size());
  const std::vector<float> weight = numbers(cols, 9);
  std::vector<float> sum = y, next = x, expected(x.size());
  all_reduce_sum(world, std::span<float>(sum));
  kernels::add<cpu>(queue, {sum.data(), rows, cols}, {next.data(), rows, cols});
  kernels::rms_norm<cpu>(queue, {next.data(), rows, cols}, weight.data(), 1e-5f, {expected.data(), rows, cols});
  add_reduced_and_norm<cpu>(
      world, queue,
      {{y.data(), rows, cols}, {x.data(), rows, cols}, weight.data(), 1e-5f, {normed.data(), rows, cols}});
  EXPECT_EQ(x, next);
  EXPECT_EQ(normed, expected);
}

}  // namespace
}  // namespace hack::comm
