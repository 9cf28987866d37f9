// main() of every test program: MPI around GoogleTest, failures tagged with their rank, one verdict for all ranks.

#include <mpi.h>
#include <unistd.h>

#include <iostream>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "comm/deadline.hpp"
#include "comm/environment.hpp"

namespace {

/// Prints only what failed, with the rank in front.
class FailurePrinter : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    fmt::print("[rank {}] {}:{}: {}\n", rank_, result.file_name() ? result.file_name() : "?", result.line_number(),
               result.message());
    std::fflush(stdout);
  }

 private:
  int rank_;
};

/// Keeps ranks together, so that a failure on one is not taken for a hang of the next test.
class BarrierListener : public testing::EmptyTestEventListener {
 public:
  void OnTestEnd(const testing::TestInfo&) override { MPI_Barrier(MPI_COMM_WORLD); }
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  hack::comm::Environment environment(argc, argv);
  const hack::comm::Communicator world = hack::comm::Communicator::world();
  hack::comm::Deadline::start(120);

  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (!world.is_root()) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter(world.rank()));
  }
  listeners.Append(new BarrierListener);

  const int result = RUN_ALL_TESTS();
  const testing::UnitTest& tests = *testing::UnitTest::GetInstance();
  std::int64_t counts[] = {result == 0 ? 0 : 1, tests.test_to_run_count()};
  hack::comm::all_reduce_sum(world, std::span<std::int64_t>(counts));
  if (world.is_root()) {
    if (counts[0] > 0) fmt::print("{} of {} ranks failed\n", counts[0], world.size());
    if (counts[1] == 0) fmt::print("no test ran\n");
  }
  return counts[0] == 0 && counts[1] > 0 ? 0 : 1;
}
