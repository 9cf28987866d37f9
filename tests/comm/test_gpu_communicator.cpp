// NCCL's twin of a communicator, against a fake that answers by MPI: what is called, in which order, and how runs end.

#include "comm/gpu_communicator.hpp"

#include <thread>

#include <gtest/gtest.h>

#include "comm/gpu.hpp"
#include "kernels/error.hpp"
#include "tests/comm/fake_gpu/fake_nccl.hpp"

namespace hack::comm {
namespace {

using tests::fake_nccl;

TEST(GpuCommunicator, SumsAndGathersOverItsRanks) {
  const Communicator world = Communicator::world();
  {
    GpuCommunicator gpu(world);
    EXPECT_EQ(fake_nccl().open, 1);
    std::vector<float> x = {1, static_cast<float>(world.rank()), 3};
    gpu.all_reduce_sum(nullptr, x.data(), 3);
    const auto p = static_cast<float>(world.size());
    EXPECT_EQ(x, (std::vector<float>{p, p * (p - 1) / 2, 3 * p}));
  }
  EXPECT_EQ(fake_nccl().open, 0);
}

TEST(GpuCommunicator, LeavesNormsToOthersWhereNoMemoryIsMapped) {
  GpuCommunicator gpu(Communicator::world());
  EXPECT_FALSE(gpu.add_reduced_and_norm(nullptr, {}));
}

TEST(GpuCommunicator, SplitsAsMpiDoes) {
  const Communicator world = Communicator::world();
  const Communicator part = world.split(world.rank() % 2, world.rank());
  GpuCommunicator gpu(part);
  float one = 1;
  gpu.all_reduce_sum(nullptr, &one, 1);
  EXPECT_EQ(one, static_cast<float>(part.size()));
}

TEST(GpuCommunicator, NamesTheCollectiveThatFailedAndAborts) {
  const Communicator world = Communicator::world();
  GpuCommunicator gpu(world);
  float one = 1;
  gpu.all_reduce_sum(nullptr, &one, 1);
  gpu.on_waiting();  // all is well
  gpu.on_done();
  const int aborts = fake_nccl().aborts;
  fake_nccl().async_state = ncclRemoteError;
  try {
    gpu.on_waiting();
    FAIL() << "the error was not seen";
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("rank " + std::to_string(world.rank())), std::string::npos) << what;
    EXPECT_NE(what.find("ncclAllReduce"), std::string::npos) << what;
    EXPECT_NE(what.find("connection to rank 1 closed"), std::string::npos) << what;
  }
  fake_nccl().async_state = ncclSuccess;
  EXPECT_EQ(fake_nccl().aborts, aborts + 1);
  EXPECT_EQ(fake_nccl().open, 0);  // and nothing is destroyed twice
}

TEST(GpuCommunicator, AbortsWhereACallIsRefused) {
  GpuCommunicator gpu(Communicator::world());
  fake_nccl().next_call = ncclUnhandledCudaError;
  float one = 1;
  EXPECT_THROW(gpu.all_reduce_sum(nullptr, &one, 1), Error);
  EXPECT_EQ(fake_nccl().open, 0);
}

TEST(GpuCommunicator, EndsTheProcessWhereAKernelMayWaitForOthers) {
  if (Communicator::world().size() > 1) GTEST_SKIP() << "looked at with one rank";
  // Not by an exception, on whose way memory would be freed, for which CUDA waits for that kernel.
  const auto see_the_error = [] {
    fake_nccl().maps_memory = true;
    GpuCommunicator gpu(Communicator::self());
    fake_nccl().async_state = ncclRemoteError;
    try {
      gpu.on_waiting();
    } catch (const Error&) {
      std::_Exit(7);
    }
  };
  EXPECT_EXIT(see_the_error(), testing::ExitedWithCode(1), "rank 0 of its group: .* failed");
}

TEST(GpuCommunicator, EndsTheRunWhereAWaitOutlastsTheDeadline) {
  if (Communicator::world().size() > 1) GTEST_SKIP() << "looked at with one rank";
  // The first poll starts the deadline's wait; the stream never ends.
  const auto wait_forever = [] {
    GpuCommunicator gpu(Communicator::self());
    Deadline::start(0.3);
    float one = 1;
    gpu.all_reduce_sum(nullptr, &one, 1);
    while (true) {
      gpu.on_waiting();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  };
  Deadline::stop();
  EXPECT_EXIT(wait_forever(), testing::ExitedWithCode(1), "waited 0.3 s in ncclAllReduce");
  Deadline::start(120);
}

TEST(GpuCommunicator, CountsNoLocalWorkAgainstTheDeadline) {
  if (Communicator::world().size() > 1) GTEST_SKIP() << "looked at with one rank";
  // Waits for half a second: before any collective, after one is done, and after one that a graph replays.
  const auto wait = [](GpuCommunicator& gpu) {
    for (int i = 0; i < 50; ++i) {
      gpu.on_waiting();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  };
  const auto run = [&](bool captures) {
    GpuCommunicator gpu(Communicator::self());
    Deadline::start(0.3);
    wait(gpu);
    float one = 1;
    fake_nccl().is_capturing = captures;
    gpu.all_reduce_sum(nullptr, &one, 1);
    gpu.on_waiting();
    gpu.on_done();
    wait(gpu);
    std::_Exit(0);
  };
  Deadline::stop();
  EXPECT_EXIT(run(false), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(run(true), testing::ExitedWithCode(1), "waited 0.3 s in ncclAllReduce");
  Deadline::start(120);
}

TEST(GpuCommunicator, PrintsTheVersionAsNcclDoes) { EXPECT_EQ(GpuCommunicator::version(), "2.28.9"); }

TEST(AnySharedGpu, LooksAtNodeAndIdentifier) {
  EXPECT_FALSE(any_shared({"a 1", "a 2", "b 1"}));
  EXPECT_TRUE(any_shared({"a 1", "b 1", "a 1"}));
  EXPECT_FALSE(any_shared({}));
}

}  // namespace
}  // namespace hack::comm
