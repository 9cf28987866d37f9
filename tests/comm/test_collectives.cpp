#include <numeric>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "comm/process_grid.hpp"
#include "kernels/error.hpp"

namespace hack::comm {
namespace {

TEST(AllReduce, SumsAMatrixOverTheRanks) {
  const Communicator world = Communicator::world();
  Buffer<float> x(6);
  for (int i = 0; i < 6; ++i) x.data()[i] = static_cast<float>(i + world.rank());
  Queue<Device::cpu> queue(1);
  all_reduce_sum<Device::cpu>(world, queue, MatrixView<float>(x.data(), 2, 3));
  const int p = world.size();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(x.data()[i], static_cast<float>(p * i + p * (p - 1) / 2));
}

TEST(AllReduce, TakesAnEmptyMatrix) {
  Queue<Device::cpu> queue(1);
  all_reduce_sum<Device::cpu>(Communicator::world(), queue, MatrixView<float>(nullptr, 0, 5));
}

TEST(AllGather, ConcatenatesDifferentCountsInRankOrder) {
  const Communicator world = Communicator::world();
  const std::vector<int> mine(world.rank(), world.rank());  // rank r gives r numbers
  const std::vector<int> all = all_gather<int>(world, mine);
  std::vector<int> expected;
  for (int r = 0; r < world.size(); ++r) expected.insert(expected.end(), r, r);
  EXPECT_EQ(all, expected);
  const std::vector<int> at_root = gather<int>(world, mine);
  EXPECT_EQ(at_root, world.is_root() ? expected : std::vector<int>{});
}

TEST(Broadcast, CarriesTextAndIds) {
  const Communicator world = Communicator::world();
  std::string text = world.is_root() ? "tile" : "";
  std::vector<int> ids = world.is_root() ? std::vector{3, 1, 4} : std::vector<int>{};
  broadcast(world, text);
  broadcast(world, ids);
  EXPECT_EQ(text, "tile");
  EXPECT_EQ(ids, (std::vector{3, 1, 4}));
}

TEST(ExclusiveSum, CountsTheRanksBefore) {
  const Communicator world = Communicator::world();
  EXPECT_EQ(exclusive_sum(world, world.rank() + 1), world.rank() * (world.rank() + 1) / 2);
}

TEST(ProcessGrid, PutsTheRanksOfOneCopySideBySide) {
  const Communicator world = Communicator::world();
  for (int tensor = 1; tensor <= world.size(); ++tensor) {
    if (world.size() % tensor != 0) {
      EXPECT_THROW(ProcessGrid(world, tensor), Error);
      continue;
    }
    const ProcessGrid grid(world, tensor);
    EXPECT_EQ(grid.tensor().size(), tensor);
    EXPECT_EQ(grid.tensor().rank(), world.rank() % tensor);
    EXPECT_EQ(grid.data().size(), world.size() / tensor);
    EXPECT_EQ(grid.data().rank(), world.rank() / tensor);
  }
  EXPECT_EQ(ProcessGrid(world, 0).tensor().size(), world.size());
}

}  // namespace
}  // namespace hack::comm
