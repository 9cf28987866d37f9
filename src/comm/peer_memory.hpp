#pragma once

#include "comm/communicator.hpp"
#include "kernels/cuda/llama/peer_reduction.cuh"

namespace hack::comm {

/// Memory of every rank's GPU that all GPUs of the group read and write: sums of a few short rows go through it, in the
/// way of kernels/cuda/llama/peer_reduction.cuh. Each rank allocates its own memory and opens the memory of the others
/// by CUDA's handles between processes.
class PeerMemory {
 public:
  /// Takes memory for rows of up to `cols` numbers. Collective. It stays empty, on all ranks alike, where the group is
  /// larger than a node or Peers::most, or where a GPU cannot reach another GPU's memory.
  PeerMemory(const Communicator& comm, std::int64_t cols);
  /// Collective where there is memory: nobody frees what others still have open.
  ~PeerMemory();
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;

  /// Returns null where the memory is not mapped.
  const kernels::cuda::Peers* peers() const { return is_mapped_ ? &peers_ : nullptr; }

 private:
  void open(const Communicator& comm);

  Communicator group_;
  bool is_mapped_ = false;
  std::byte* mine_ = nullptr;
  std::byte* opened_[kernels::cuda::Peers::most] = {};  // (ranks) the memory of other ranks
  kernels::cuda::Peers peers_;
};

}  // namespace hack::comm
