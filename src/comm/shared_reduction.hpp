#pragma once

#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cpu/memory/ordered_sum.hpp"

namespace hack::comm {

class Communicator;

/// Sums vectors over the ranks of one node through memory that the ranks share (an MPI-3 window; Hoefler et al. 2013,
/// "MPI + MPI"), without a message:
///
///     before  rank 0: a0   rank 1: a1   rank 2: a2
///     after   every rank: (a0 + a1) + a2, added in rank order: the same bits on every rank and in every run
///
/// Each rank owns a segment: a counter of the steps that it has done, and two slots that pieces of the vectors take in
/// turn. A long piece is a reduce-scatter and an all-gather (Rabenseifner 2004), of which each rank adds one slice.
///
///     short piece   copy mine to my slot, step | wait for all, add all slots
///     long piece    copy the others' slices to my slot, step | wait for all, add the slots of my slice into my slot,
///                   step | take each other slice from its owner's slot as soon as its owner has stepped
///
/// Two slots are enough, and no barrier is needed: a rank that writes a slot again has seen every rank's first step of
/// the piece in between, and a rank makes that step after it has read the slot. All ranks call the functions together,
/// with the same n.
class SharedReduction {
 public:
  /// Returns null where the ranks of `comm` do not all share memory, or MPI offers no window. Collective.
  static std::unique_ptr<SharedReduction> make(const Communicator& comm);
  /// Collective, except while an exception passes: then the window stays until the process ends, which is near.
  ~SharedReduction();
  SharedReduction(const SharedReduction&) = delete;
  SharedReduction& operator=(const SharedReduction&) = delete;

  /// x[0 … n) = Σ x over the ranks.
  void sum(float* x, index_t n);
  /// x[0 … n) += Σ y over the ranks: the bits of sum(y), then x += y, in one pass less. x and y do not overlap.
  void add_sum(const float* y, float* x, index_t n);

  static constexpr index_t capacity = index_t{1} << 16;  ///< numbers of a slot: longer vectors are cut into pieces

  /// Numbers up to which each of `ranks` adds everything itself, 32 KiB from the others.
  static constexpr index_t short_piece(int ranks) { return (index_t{1} << 13) / std::max(ranks - 1, 1); }

 private:
  using Sum = kernels::Sum;

  struct alignas(64) Counter {
    std::atomic<std::uint64_t> steps;
  };
  struct Segment {
    Counter* counter;
    float* slots;  // (2, capacity)
  };

  SharedReduction(const Communicator& comm, MPI_Comm node, MPI_Win window);

  void reduce(const float* in, index_t n, Sum what, float* out);
  void exchange_whole(const float* in, index_t n, Sum what, float* out);
  void exchange_slices(const float* in, index_t n, Sum what, float* out);

  float* slot(int rank) const;
  void step();
  void wait_for(int rank) const;
  void wait_long(int rank) const;
  void wait_for_all() const;

  MPI_Comm node_;
  MPI_Win window_;
  int rank_;
  std::vector<Segment> segments_;   // (ranks)
  std::vector<int> world_ranks_;    // (ranks) for messages
  std::vector<const float*> adds_;  // (ranks) the terms of a sum, in rank order
  std::uint64_t steps_ = 0;         // of this rank; every rank makes the same steps
  index_t pieces_ = 0;
  std::vector<float> total_;  // (capacity / ranks, and a line) the sum of this rank's slice
};

}  // namespace hack::comm
