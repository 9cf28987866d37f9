// Ranks that add up through each other's memory, side by side on the host.

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cuda/llama/peer_reduction.cuh"
#include "tests/kernels/random_data.hpp"
#include "tests/simt/emulator.hpp"

namespace hack::simt {
namespace {

using kernels::cuda::Peers;
using kernels::cuda::ReduceAddNorm;

/// What a product before the reduction does: it writes y, late.
struct WriteRows {
  static constexpr const char* name = "WriteRows";
  static constexpr int max_threads = 64;
  const float* from;
  float* to;
  index_t n;
  kernels::cuda::Geometry geometry() const { return {1, max_threads, 0}; }
  void operator()(Execution& exec) const {
    for (index_t i = exec.thread(); i < n; i += max_threads) to[i] = from[i];
  }
};

constexpr int rounds = 5;  // every slot is written again twice
constexpr float epsilon = 1e-5f;

/// One rank's memory; what is not written is not a number.
struct Rank {
  std::vector<float> slots, y, x, normed;
  std::vector<std::uint32_t> flags, counts;
  std::vector<std::vector<float>> parts;  // of each round

  Rank(int number, index_t rows, index_t cols, index_t most_cols)
      : slots(static_cast<std::size_t>(2 * Peers::most_rows * most_cols), NAN),
        y(static_cast<std::size_t>(rows * cols), NAN),
        x(tests::random_floats(rows * cols, 99)),
        normed(y),
        flags(Peers::most_rows * Peers::most, 0xfffffffeu),  // rounds pass 2^32
        counts(Peers::most_rows, 0xfffffffeu) {
    for (int r = 0; r < rounds; ++r) {
      parts.push_back(tests::random_floats(rows * cols, static_cast<unsigned>(10 * r + number)));
    }
  }
};

void check(int ranks, index_t rows, index_t cols) {
  SCOPED_TRACE(testing::Message() << ranks << " ranks, " << rows << " x " << cols << ", order " << order_seed);
  const index_t most_cols = cols % 4 == 0 ? cols + 8 : cols + 7;
  std::vector<Rank> all;
  for (int r = 0; r < ranks; ++r) all.emplace_back(r, rows, cols, most_cols);
  const std::vector<float> weight = tests::random_floats(cols, 5);
  SideBySide gpus(ranks);
  for (int r = 0; r < ranks; ++r) {
    Rank& mine = all[static_cast<std::size_t>(r)];
    Peers peers{.count = ranks, .rank = r, .most_cols = most_cols};
    for (int p = 0; p < ranks; ++p) {
      peers.slots[p] = all[static_cast<std::size_t>(p)].slots.data();
      peers.flags[p] = all[static_cast<std::size_t>(p)].flags.data();
    }
    peers.rounds = mine.counts.data();
    for (const std::vector<float>& part : mine.parts) {
      gpus.add(r, WriteRows{part.data(), mine.y.data(), rows * cols});
      gpus.add(r, ReduceAddNorm{peers,
                                {mine.y.data(), rows, cols, cols},
                                {mine.x.data(), rows, cols, cols},
                                weight.data(),
                                epsilon,
                                {mine.normed.data(), rows, cols, cols}});
    }
  }
  gpus.run();
  // The same sums in the same order.
  std::vector<float> expected = tests::random_floats(rows * cols, 99);
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      float sum = 0;
      for (const Rank& rank : all) sum += rank.parts[static_cast<std::size_t>(round)][i];
      expected[i] += sum;
    }
  }
  for (const Rank& rank : all) {
    ASSERT_EQ(rank.x, expected);
    ASSERT_EQ(rank.normed, all[0].normed);
    for (index_t i = 0; i < rows; ++i) {
      double squares = 0;
      for (index_t j = 0; j < cols; ++j) squares += double{expected[i * cols + j]} * expected[i * cols + j];
      const double factor = 1 / std::sqrt(squares / static_cast<double>(cols) + double{epsilon});
      for (index_t j = 0; j < cols; ++j) {
        const double value = expected[i * cols + j] * factor * weight[j];
        ASSERT_NEAR(rank.normed[i * cols + j], value, 64 * tests::eps * (1 + std::fabs(value)));
      }
    }
  }
}

TEST(Peers, AddUpAndNormalize) {
  for (order_seed = 1; order_seed < 6; ++order_seed) {
    check(1, 1, 40);
    check(2, 3, 70);
    check(3, 1, 1030);
    check(8, 2, 33);
    check(8, 2, 68);
    check(2, 1, 4 * 1024 + 12);  // more than a thread's first four
  }
}

TEST(Peers, AreMissedWhereOneDoesNotCome) {
  Rank rank(0, 1, 8, 8), absent(1, 1, 8, 8);
  const std::vector<float> weight(8, 1.0f);
  Peers peers{.count = 2, .rank = 0, .most_cols = 8};
  peers.slots[0] = rank.slots.data();
  peers.slots[1] = absent.slots.data();
  peers.flags[0] = rank.flags.data();
  peers.flags[1] = absent.flags.data();
  peers.rounds = rank.counts.data();
  SideBySide gpus(1);
  gpus.add(0, ReduceAddNorm{peers,
                            {rank.x.data(), 1, 8, 8},
                            {rank.x.data(), 1, 8, 8},
                            weight.data(),
                            epsilon,
                            {rank.normed.data(), 1, 8, 8}});
  EXPECT_THROW(gpus.run(), Fault);
}

}  // namespace
}  // namespace hack::simt
