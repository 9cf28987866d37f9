#pragma once

#include "comm/communicator.hpp"
#include "kernels/cuda/llama/peer_reduction.cuh"

namespace hack::comm {

/// Memory of this rank's GPU that the other ranks' GPUs read and write, and theirs: what sums of a few short rows go
/// through. Each rank allocates its own and opens the others' by CUDA's handles between processes.
class PeerMemory {
 public:
  /// Rows of up to `cols` numbers. Collective. On all ranks alike it stays empty where the group is larger than a node
  /// or Peers::most, or where a GPU cannot reach another's memory.
  PeerMemory(const Communicator& comm, std::int64_t cols);
  ~PeerMemory();
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;

  /// Null where there is none.
  const kernels::cuda::Peers* peers() const { return is_mapped_ ? &peers_ : nullptr; }

 private:
  void open(const Communicator& comm);

  bool is_mapped_ = false;
  std::byte* mine_ = nullptr;
  std::byte* opened_[kernels::cuda::Peers::most] = {};  // those of other ranks
  kernels::cuda::Peers peers_;
};

}  // namespace hack::comm
