#pragma once

#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

/// Memory that the ranks of a group have mapped of each other, as one of them sees it.
struct Peers {
  static constexpr int most = 8;
  static constexpr index_t most_rows = 8;
  int count = 0;
  int rank = 0;
  index_t most_cols = 0;
  float* slots[most] = {};          // of each rank (2, most_rows, most_cols): its parts of even and odd rounds
  std::uint32_t* flags[most] = {};  // of each rank (most_rows, most): the last round that each rank has written
  std::uint32_t* rounds = nullptr;  // (most_rows) of this rank: rounds that are over

  HACK_BODY float* slot(int of, std::uint32_t round, index_t row) const {
    return slots[of] + (round % 2 * most_rows + row) * most_cols;
  }
};

/// x += Σ y over the ranks, and normed = norm(x) weight, for few rows, all in one launch of every rank: a block a row.
/// Each rank shows its part to the others, waits for theirs, and adds all up in the order of the ranks, so that all get
/// the same bits. A slot is written again two rounds later: then all have been in the round between, and so are done
/// with it. Rounds are counted in memory, so that launches can be replayed.
struct ReduceAddNorm {
  static constexpr const char* name = "ReduceAddNorm";
  static constexpr int max_threads = 512;
  Peers peers;
  Array<const float> y;
  Array<float> x;
  const float* weight = nullptr;
  float epsilon = 0;
  Array<float> normed;

  Geometry geometry() const { return {x.rows, max_threads, 32}; }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t row = exec.block();
    const std::uint32_t round = peers.rounds[row] + 1;
    float* mine = peers.slot(peers.rank, round, row);
    for (index_t j = exec.thread(); j < x.cols; j += max_threads) mine[j] = y.row(row)[j];
    exec.sync();  // all of the part is written, and all threads know the round
    const int peer = exec.thread();
    if (peer == 0) peers.rounds[row] = round;
    if (peer < peers.count) {
      exec.publish(peers.flags[peer] + row * Peers::most + peers.rank, round);
      exec.wait_for(peers.flags[peers.rank] + row * Peers::most + peer, round);
    }
    exec.sync();
    float squares = 0;
    for (index_t j = exec.thread(); j < x.cols; j += max_threads) {
      float sum = 0;
      for (int p = 0; p < peers.count; ++p) sum += exec.fresh(peers.slot(p, round, row) + j);
      const float next = x.row(row)[j] + sum;
      x.row(row)[j] = next;
      squares += next * next;
    }
    const float mean = block_sum(exec, squares, 0) / static_cast<float>(x.cols);
    const float factor = 1 / sqrtf(mean + epsilon);
    for (index_t j = exec.thread(); j < x.cols; j += max_threads) {
      normed.row(row)[j] = x.row(row)[j] * factor * weight[j];
    }
  }
};

}  // namespace hack::kernels::cuda

#define HACK_PEER_KERNELS(X) X(ReduceAddNorm)
