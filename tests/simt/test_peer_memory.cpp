// Memory that processes map of each other, and the kernel that sums through it: each rank a process with its own
// emulated GPU.

#include "comm/peer_memory.hpp"

#include <sched.h>
#include <unistd.h>

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "tests/kernels/random_data.hpp"
#include "tests/simt/emulator.hpp"
#include "tests/simt/fake_ipc/fake_ipc.hpp"

namespace hack::comm {
namespace {

using kernels::cuda::ReduceAddNorm;
using tests::fake_ipc;

/// Runs a launch whose blocks wait for those of other processes.
void run(const ReduceAddNorm& kernel) {
  const auto geometry = simt::checked_geometry(kernel);
  for (index_t b = 0; b < geometry.blocks; ++b) {
    simt::Block block(ReduceAddNorm::name, b, geometry, simt::order_seed);
    block.start([&](simt::Execution& exec) { kernel(exec); });
    while (!block.is_done()) {
      if (!block.step(geometry.threads)) sched_yield();
    }
  }
}

TEST(PeerMemory, SumsOverProcesses) {
  const Communicator world = Communicator::world();
  const index_t rows = 2, cols = 45;
  const std::vector<float> weight = tests::random_floats(cols, 77);
  std::vector<float> x = tests::random_floats(rows * cols, 78), expected = x, normed(x.size());
  {
    const PeerMemory memory(world, cols + 3);
    ASSERT_NE(memory.peers(), nullptr);
    EXPECT_EQ(memory.peers()->count, world.size());
    for (unsigned round = 0; round < 6; ++round) {
      std::vector<float> y;
      for (int r = 0; r < world.size(); ++r) {
        const std::vector<float> part = tests::random_floats(rows * cols, 10 * round + static_cast<unsigned>(r));
        if (r == world.rank()) y = part;
      }
      for (std::size_t i = 0; i < expected.size(); ++i) {
        float sum = 0;
        for (int r = 0; r < world.size(); ++r) {
          sum += tests::random_floats(rows * cols, 10 * round + static_cast<unsigned>(r))[i];
        }
        expected[i] += sum;
      }
      run({*memory.peers(),
           {y.data(), rows, cols, cols},
           {x.data(), rows, cols, cols},
           weight.data(),
           1e-5f,
           {normed.data(), rows, cols, cols}});
      ASSERT_EQ(x, expected) << "round " << round;
    }
    // Without a barrier here: the destructor has one before memory is freed.
    if (!world.is_root()) usleep(200'000);
  }
  EXPECT_EQ(fake_ipc().open, 0);
  EXPECT_FALSE(fake_ipc().freed_while_open);
}

TEST(PeerMemory, LeavesNoErrorBehindForTheNextLaunch) {
  const Communicator world = Communicator::world();
  fake_ipc().knows_peers = false;
  EXPECT_EQ(PeerMemory(world, 8).peers() == nullptr, world.size() > 1);
  EXPECT_FALSE(fake_ipc().has_error);
  fake_ipc().knows_peers = true;
}

TEST(PeerMemory, StaysEmptyOnAllRanksWhereOneCannot) {
  const Communicator world = Communicator::world();
  fake_ipc().can_reach = world.rank() != world.size() - 1;
  EXPECT_EQ(PeerMemory(world, 8).peers() == nullptr, world.size() > 1);
  fake_ipc().can_reach = true;
  fake_ipc().can_open = !world.is_root();
  EXPECT_EQ(PeerMemory(world, 8).peers() == nullptr, world.size() > 1);
  fake_ipc().can_open = true;
  EXPECT_EQ(fake_ipc().open, 0);
  EXPECT_FALSE(fake_ipc().has_error);
}

}  // namespace
}  // namespace hack::comm
