// The emulator finds what it is there to find.

#include <gtest/gtest.h>

#include "kernels/cuda/memory/resources.hpp"
#include "tests/simt/emulator.hpp"

namespace hack::simt {
namespace {

using kernels::cuda::Geometry;

/// A kernel of one block of 64 threads and 64 words, made of a function.
template <class Body>
struct Probe {
  static constexpr const char* name = "Probe";
  static constexpr int max_threads = 64;
  Body body;
  Geometry geometry() const { return {1, 64, 64}; }
  void operator()(Execution& exec) const { body(exec); }
};
template <class Body>
Probe(Body) -> Probe<Body>;

/// What the emulator says of a kernel, in one of several orders of threads; empty: nothing.
template <class Body>
std::string fault_of(Body body) {
  for (order_seed = 1; order_seed < 9; ++order_seed) {
    try {
      launch(Probe{body});
    } catch (const Fault& fault) {
      return fault.what();
    }
  }
  return {};
}

TEST(Emulator, LetsThreadsExchangeNumbersAcrossABarrier) {
  std::vector<float> seen(64);
  EXPECT_EQ(fault_of([&](Execution& exec) {
              const auto words = exec.shared<float>(0);
              words[exec.thread()] = static_cast<float>(exec.thread());
              exec.sync();
              seen[static_cast<std::size_t>(exec.thread())] = words[63 - exec.thread()];
            }),
            "");
  for (int t = 0; t < 64; ++t) EXPECT_EQ(seen[static_cast<std::size_t>(t)], static_cast<float>(63 - t));
}

TEST(Emulator, FindsAReadWithoutABarrier) {
  const std::string fault = fault_of([](Execution& exec) {
    const auto words = exec.shared<float>(0);
    words[exec.thread()] = 1;
    if (words[63 - exec.thread()] < 0) exec.sync();
  });
  EXPECT_NE(fault.find("without a barrier between"), std::string::npos) << fault;
}

TEST(Emulator, FindsAWriteAfterAReadWithoutABarrier) {
  const std::string fault = fault_of([](Execution& exec) {
    const auto words = exec.shared<float>(0);
    words[exec.thread()] = 1;
    exec.sync();
    const float x = words[63 - exec.thread()];
    words[exec.thread()] = x + 1;
  });
  EXPECT_NE(fault.find("without a barrier between"), std::string::npos) << fault;
}

TEST(Emulator, FindsTwoWritersOfOneWord) {
  const std::string fault = fault_of([](Execution& exec) { exec.shared<int>(0)[0] = exec.thread(); });
  EXPECT_NE(fault.find("writes word 0"), std::string::npos) << fault;
}

TEST(Emulator, TakesTheBarrierOfAWarpForItsLanesAlone) {
  const auto exchange = [](int distance) {
    return [distance](Execution& exec) {
      const auto words = exec.shared<int>(0);
      words[exec.thread()] = exec.thread();
      exec.sync_warp();
      const int seen = words[(exec.thread() + distance) % 64];
      if (seen < 0) exec.sync();
    };
  };
  EXPECT_NE(fault_of(exchange(32)), "");
  EXPECT_NE(fault_of(exchange(1)), "");  // lane 31 reads the next warp's
  EXPECT_EQ(fault_of([](Execution& exec) {
              const auto words = exec.shared<int>(0);
              words[exec.thread()] = exec.thread();
              exec.sync_warp();
              const int seen = words[exec.thread() ^ 1];
              if (seen < 0) exec.sync();
            }),
            "");
}

TEST(Emulator, FindsAccessesOutsideSharedMemory) {
  const std::string fault = fault_of([](Execution& exec) { exec.shared<float>(1)[exec.thread()] = 0; });
  EXPECT_NE(fault.find("word 64 of 64"), std::string::npos) << fault;
}

TEST(Emulator, FindsABarrierThatSomeThreadsDoNotReach) {
  const std::string fault = fault_of([](Execution& exec) {
    if (exec.thread() > 0) exec.sync();
  });
  EXPECT_NE(fault.find("63 threads wait at a barrier"), std::string::npos) << fault;
}

TEST(Emulator, FindsLanesThatMeetInDifferentOperations) {
  const std::string fault = fault_of([](Execution& exec) {
    if (exec.lane() < 5) {
      exec.warp_max(1);
    } else {
      exec.group_sum(1.0f, 32);
    }
  });
  EXPECT_NE(fault.find("different operations"), std::string::npos) << fault;
}

TEST(Emulator, FindsLoadsThatAreNotAligned) {
  alignas(16) std::byte bytes[64] = {};
  const std::string fault = fault_of([&](Execution& exec) {
    std::uint32_t words[4];
    exec.load16(bytes + 8, words);
  });
  EXPECT_NE(fault.find("not divisible by 16"), std::string::npos) << fault;
}

TEST(Emulator, FindsAFlagThatNobodySets) {
  const std::uint32_t flag = 4;
  const std::string fault = fault_of([&](Execution& exec) { exec.wait_for(&flag, exec.thread() == 9 ? 5 : 4); });
  EXPECT_NE(fault.find("1 for a flag"), std::string::npos) << fault;
}

TEST(Emulator, SumsWithinGroupsOfLanes) {
  EXPECT_EQ(fault_of([](Execution& exec) {
              const int group = exec.lane() / 8;
              const float sum = exec.group_sum(static_cast<float>(exec.lane()), 8);
              if (sum != static_cast<float>(8 * (8 * group) + 28)) throw Fault("a wrong sum");
              if (exec.warp_max(static_cast<float>(exec.lane())) != 31) throw Fault("a wrong maximum");
              if (exec.shuffle_xor(static_cast<float>(exec.lane()), 4) != static_cast<float>(exec.lane() ^ 4)) {
                throw Fault("a wrong shuffle");
              }
            }),
            "");
}

}  // namespace
}  // namespace hack::simt
