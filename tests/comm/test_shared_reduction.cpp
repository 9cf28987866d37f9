// Sums through shared memory against the slow twin: every vector gathered, added in rank order.

#include <chrono>
#include <cstring>
#include <optional>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "comm/shared_reduction.hpp"

namespace hack::comm {
namespace {

constexpr index_t capacity = SharedReduction::capacity;

/// Numbers whose sum depends on the order of adding, other ones for each seed and rank.
std::vector<float> numbers(index_t n, int seed, int rank) {
  std::mt19937 engine(static_cast<unsigned>(1000 * seed + rank));
  std::normal_distribution<float> normal(0, 100);
  std::vector<float> x(n);
  for (float& value : x) value = normal(engine);
  return x;
}

std::vector<float> sum_in_rank_order(const Communicator& comm, const std::vector<float>& mine) {
  const std::vector<float> all = all_gather<float>(comm, mine);
  std::vector<float> sum(all.begin(), all.begin() + std::ssize(mine));
  for (int r = 1; r < comm.size(); ++r) {
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += all[r * sum.size() + i];
  }
  return sum;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

void expect_sums(const Communicator& comm, index_t n, int seed) {
  SCOPED_TRACE(fmt::format("{} numbers on {} ranks", n, comm.size()));
  const std::vector<float> mine = numbers(n, seed, comm.rank());
  const std::vector<float> sum = sum_in_rank_order(comm, mine);
  Queue<Device::cpu> queue(1);
  std::vector<float> x = mine;
  all_reduce_sum<Device::cpu>(comm, queue, MatrixView<float>(x.data(), 1, n));
  EXPECT_TRUE(same_bits(x, sum));

  std::vector<float> y = mine;
  std::vector<float> stream = numbers(n, -1 - seed, 0);
  std::vector<float> expected = stream;
  for (index_t i = 0; i < n; ++i) expected[i] += sum[i];
  add_all_reduced<Device::cpu>(comm, queue, MatrixView<float>(y.data(), 1, n), MatrixView<float>(stream.data(), 1, n));
  EXPECT_TRUE(same_bits(stream, expected));
}

/// The ranks of these tests share a node: sums go through shared memory, which is what is tested.
TEST(SharedReduction, IsThereWhereRanksShareANode) {
  const Communicator world = Communicator::world();
  EXPECT_EQ(world.shared() != nullptr, world.size() > 1);
  EXPECT_EQ(Communicator::self().shared(), nullptr);
}

TEST(SharedReduction, GivesEveryRankTheSumInRankOrder) {
  const Communicator world = Communicator::world();
  const index_t short_piece = SharedReduction::short_piece(world.size());
  int seed = 0;
  for (const index_t n :
       {index_t{0}, index_t{1}, index_t{3}, index_t{15}, index_t{16}, index_t{17}, index_t{576}, index_t{1023},
        index_t{1025}, short_piece - 1, short_piece, short_piece + 1, 3 * short_piece + 5, capacity - 1, capacity,
        capacity + 1, capacity + short_piece, capacity + short_piece + 1, 2 * capacity + 77}) {
    expect_sums(world, n, ++seed);
  }
}

TEST(SharedReduction, KeepsApartManyCallsInARow) {
  const Communicator world = Communicator::world();
  const index_t short_piece = SharedReduction::short_piece(world.size());
  std::mt19937 engine(7);  // the same lengths on every rank
  Queue<Device::cpu> queue(1);
  std::vector<float> x(2 * short_piece);
  const int ranks = world.size();
  for (int call = 0; call < 3000; ++call) {
    const index_t n = call % 50 == 0 ? std::ssize(x) : static_cast<index_t>(engine() % 700);
    for (index_t i = 0; i < n; ++i) x[i] = static_cast<float>(call + i * (world.rank() + 1));
    all_reduce_sum<Device::cpu>(world, queue, MatrixView<float>(x.data(), 1, n));
    bool right = true;
    for (index_t i = 0; i < n; ++i) right &= x[i] == static_cast<float>(ranks * call + i * (ranks * (ranks + 1) / 2));
    ASSERT_TRUE(right) << "call " << call << " of " << n << " numbers";
  }
}

TEST(SharedReduction, WaitsForLateRanks) {
  const Communicator world = Communicator::world();
  const index_t short_piece = SharedReduction::short_piece(world.size());
  std::mt19937 engine(static_cast<unsigned>(world.rank()));
  for (int call = 0; call < 20; ++call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(engine() % 5 * static_cast<unsigned>(call % 5)));
    expect_sums(world, call % 2 == 0 ? 100 : short_piece + 100, call);
  }
}

TEST(SharedReduction, KeepsCommunicatorsApart) {
  const Communicator world = Communicator::world();
  const index_t short_piece = SharedReduction::short_piece(world.size());
  const Communicator twin = Communicator::world();
  const Communicator parity = world.split(world.rank() % 2, world.rank());
  const Communicator backwards = world.split(0, -world.rank());
  for (int round = 0; round < 10; ++round) {
    for (const Communicator* comm : {&world, &parity, &twin, &backwards}) {
      expect_sums(*comm, round % 3 == 0 ? short_piece + 33 : 333 + round, round);
    }
  }
}

TEST(SharedReduction, MovesAndEndsWithItsCommunicator) {
  Communicator kept = Communicator::world();
  for (int round = 0; round < 5; ++round) {
    Communicator made = Communicator::world();
    expect_sums(made, 100, round);
    Communicator moved = std::move(made);
    expect_sums(moved, 100, round);
    kept = std::move(moved);
    expect_sums(kept, 100, round);
  }
}

/// Open MPI sends long messages only while the sender calls it: a rank that waits in shared memory must.
TEST(SharedReduction, LetsMessagesPassWhileItWaits) {
  const Communicator world = Communicator::world();
  if (world.size() == 1) return;
  expect_sums(world, 10, 0);
  std::vector<std::byte> message(std::size_t{1} << 23);
  MPI_Request sent = MPI_REQUEST_NULL;
  if (world.rank() == 0) {
    MPI_Isend(message.data(), static_cast<int>(message.size()), MPI_BYTE, 1, 0, world.native(), &sent);
  } else if (world.rank() == 1) {
    MPI_Recv(message.data(), static_cast<int>(message.size()), MPI_BYTE, 0, 0, world.native(), MPI_STATUS_IGNORE);
  }
  Queue<Device::cpu> queue(1);
  float x = 1;
  all_reduce_sum<Device::cpu>(world, queue, MatrixView<float>(&x, 1, 1));
  EXPECT_EQ(x, static_cast<float>(world.size()));
  MPI_Wait(&sent, MPI_STATUS_IGNORE);
}

}  // namespace
}  // namespace hack::comm
