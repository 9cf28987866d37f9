#include "comm/task_dealer.hpp"

#include <chrono>
#include <cstring>
#include <numeric>
#include <thread>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"

namespace hack::comm {
namespace {

std::vector<std::byte> bytes_of(index_t value) {
  std::vector<std::byte> bytes(sizeof(value));
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

index_t value_of(std::span<const std::byte> bytes) {
  index_t value = 0;
  EXPECT_EQ(bytes.size(), sizeof(value));
  std::memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

/// Deals tasks, each of three pieces, of which `slow` takes a while for each; returns how many this rank did. Rank 0
/// checks that each task's result comes once.
index_t run(const Communicator& world, const std::deque<index_t>& tasks, int slow) {
  std::vector<index_t> results;
  TaskDealer dealer(world, world.is_root() ? tasks : std::deque<index_t>{},
                    [&](index_t task, std::span<const std::byte> result) {
                      EXPECT_EQ(value_of(result), task * task);
                      results.push_back(task);
                    });
  index_t done = 0;
  while (const std::optional<index_t> task = dealer.next()) {
    for (int piece = 0; piece < 3; ++piece) {
      dealer.serve();
      if (piece == 2) dealer.ask();
      std::this_thread::sleep_for(std::chrono::milliseconds(world.rank() == slow ? 10 : 1));
    }
    dealer.deliver(*task, bytes_of(*task * *task));
    ++done;
  }
  dealer.finish();
  if (world.is_root()) {
    std::sort(results.begin(), results.end());
    EXPECT_EQ(results, std::vector<index_t>(tasks.begin(), tasks.end()));
    const auto of_ranks = dealer.results_of_ranks();
    EXPECT_EQ(std::ssize(of_ranks), world.size());
    EXPECT_EQ(of_ranks[0], done);
    EXPECT_EQ(std::accumulate(of_ranks.begin(), of_ranks.end(), index_t{0}), std::ssize(tasks));
  }
  return done;
}

TEST(TaskDealer, GivesEveryTaskToOneRankWhoeverIsSlow) {
  const Communicator world = Communicator::world();
  std::deque<index_t> tasks;
  for (index_t i = 0; i < 24; ++i) tasks.push_back(3 * i + 1);
  for (int slow = 0; slow < world.size(); ++slow) {
    const auto done = static_cast<double>(run(world, tasks, slow));
    EXPECT_EQ(all_reduce_sum(world, done), 24);
    EXPECT_GE(done, 1) << "rank " << world.rank() << " waited for others' first tasks";
    // Ten times as slow as the others, it gets less than an equal share: two tasks in hand at the end at most.
    if (world.size() > 1 && world.rank() == slow) {
      EXPECT_LT(done * world.size(), 24);
    }
  }
}

TEST(TaskDealer, EndsWithFewerTasksThanRanks) {
  const Communicator world = Communicator::world();
  for (const std::deque<index_t>& tasks : {std::deque<index_t>{}, std::deque<index_t>{7}}) {
    const auto done = static_cast<double>(run(world, tasks, -1));
    EXPECT_EQ(all_reduce_sum(world, done), static_cast<double>(tasks.size()));
  }
}

}  // namespace
}  // namespace hack::comm
