// A rank that is lost in the middle of sums through shared memory: this program starts itself on three ranks, of which
// one stops or dies, and looks at how the run ends.

#include <csignal>
#include <filesystem>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "comm/deadline.hpp"
#include "tests/support/program.hpp"

namespace hack::comm {
namespace {

constexpr int lost_rank = 1;

/// Sums on every rank, until one sends itself a signal; the others go on.
void lose_a_rank(int signal, index_t n) {
  Deadline::start(2);
  const Communicator world = Communicator::world();
  Queue<Device::cpu> queue(1);
  std::vector<float> x(n);
  for (int call = 0;; ++call) {
    if (call == 100 && world.rank() == lost_rank) std::raise(signal);
    all_reduce_sum<Device::cpu>(world, queue, MatrixView<float>(x.data(), 1, n));
  }
}

TEST(DISABLED_Lost, StoppedAtShort) { lose_a_rank(SIGSTOP, 100); }
TEST(DISABLED_Lost, StoppedAtLong) { lose_a_rank(SIGSTOP, 100000); }
TEST(DISABLED_Lost, Killed) { lose_a_rank(SIGKILL, 100); }

testing::ProgramResult run_lost(const std::string& name) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  return testing::run_shell(
      "exec \"$MPIRUN\" -n 3 '" + self + "' --gtest_also_run_disabled_tests --gtest_filter=DISABLED_Lost." + name, 60);
}

TEST(LostRank, StoppedEndsTheRunAtTheDeadlineAndIsNamed) {
  for (const char* name : {"StoppedAtShort", "StoppedAtLong"}) {
    const testing::ProgramResult run = run_lost(name);
    EXPECT_EQ(run.status, 1) << run.out << run.err;
    EXPECT_NE(run.err.find("waited 2 s in all_reduce_sum (rank 1 has stopped or is far behind)"), std::string::npos)
        << run.err;
    EXPECT_NE(run.err.find("make the deadline longer"), std::string::npos) << run.err;
  }
}

TEST(LostRank, KilledEndsTheRun) {
  const testing::ProgramResult run = run_lost("Killed");
  EXPECT_EQ(run.status, 128 + SIGKILL) << run.out << run.err;
}

}  // namespace
}  // namespace hack::comm
