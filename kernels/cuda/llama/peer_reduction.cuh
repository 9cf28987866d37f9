#pragma once

#include "kernels/cuda/llama/norm.cuh"

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

  Geometry geometry() const { return NormedRow::geometry(x.rows, x.cols, max_threads); }

  template <class Exec>
  HACK_BODY void operator()(Exec& exec) const {
    const index_t row = exec.block();
    const int cols = static_cast<int>(x.cols);
    const std::uint32_t round = peers.rounds[row] + 1;
    const float* from = y.row(row);
    float* stream = x.row(row);
    float* mine = peers.slot(peers.rank, round, row);
    const bool fours = at_16_bytes(from, stream, normed.row(row), weight, mine);
    if (fours && cols % 4 == 0) {
      for (int j = 4 * exec.thread(); j < cols; j += 4 * exec.threads()) {
        float part[4];
        exec.load_floats(from + j, part);
        exec.store_floats(mine + j, part);
      }
    } else {
      for (int j = exec.thread(); j < cols; j += exec.threads()) mine[j] = from[j];
    }
    exec.sync();  // all of the part is written, and all threads know the round
    const int peer = exec.thread();
    if (peer == 0) peers.rounds[row] = round;
    if (peer < peers.count) {
      exec.publish(peers.flags[peer] + row * Peers::most + peers.rank, round);
      exec.wait_for(peers.flags[peers.rank] + row * Peers::most + peer, round);
    }
    exec.sync();
    NormedRow::run(
        exec, cols, weight, epsilon, normed.row(row), fours,
        [&](int j) {
          float sum = 0;
          for (int p = 0; p < peers.count; ++p) sum += exec.fresh(peers.slot(p, round, row) + j);
          return stream[j] += sum;
        },
        [&](float(&held)[NormedRow::held][4]) {
          for_held_fours(exec, cols, [&](int u, int j) { take_sum(exec, round, row, j, stream + j, held[u]); });
        });
  }

 private:
  /// Four numbers of x plus the sum over the ranks, to x, too. Parts of as many ranks as registers hold are requested
  /// at once.
  template <class Exec>
  HACK_BODY void take_sum(Exec& exec, std::uint32_t round, index_t row, int j, float* stream, float (&to)[4]) const {
    constexpr int at_once = 4;
    float sum[4] = {};
    exec.load_floats(stream, to);
    HACK_NO_UNROLL
    for (int first = 0; first < peers.count; first += at_once) {
      float parts[at_once][4];
      HACK_UNROLL
      for (int p = 0; p < at_once; ++p) {
        if (first + p < peers.count) exec.fresh_floats(peers.slot(first + p, round, row) + j, parts[p]);
      }
      HACK_UNROLL
      for (int p = 0; p < at_once; ++p) {
        HACK_UNROLL
        for (int q = 0; q < 4; ++q) sum[q] += first + p < peers.count ? parts[p][q] : 0.0f;
      }
    }
    HACK_UNROLL
    for (int q = 0; q < 4; ++q) to[q] += sum[q];
    exec.store_floats(stream, to);
  }
};

}  // namespace hack::kernels::cuda

#define HACK_PEER_KERNELS(X) X(ReduceAddNorm)
