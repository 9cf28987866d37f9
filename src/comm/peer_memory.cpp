#include "comm/peer_memory.hpp"

#include <cuda_runtime_api.h>

#include <exception>
#include <vector>

#include "comm/collectives.hpp"
#include "comm/deadline.hpp"
#include "kernels/cuda/memory/error.hpp"

namespace hack::comm {
namespace {

using kernels::cuda::Peers;

std::size_t slot_bytes(const Peers& peers) {
  return static_cast<std::size_t>(2 * Peers::most_rows * peers.most_cols) * sizeof(float);
}
constexpr std::size_t flag_bytes = Peers::most_rows * Peers::most * sizeof(std::uint32_t);
constexpr std::size_t count_bytes = Peers::most_rows * sizeof(std::uint32_t);

/// What CUDA maps at once: a smaller allocation would show other processes what lies beside it.
constexpr std::size_t mapped_bytes = std::size_t{2} << 20;

bool all_agree(const Communicator& comm, bool mine) { return all_reduce_max(comm, mine ? 0.0 : 1.0) == 0.0; }

/// Whether this rank's GPU, number `own`, reaches the memory of all devices of the group.
bool reaches(const std::vector<int>& devices, int own) {
  for (const int other : devices) {
    int can = other == own;
    if (other != own && cudaDeviceCanAccessPeer(&can, own, other) != cudaSuccess) {
      cudaGetLastError();  // clears the error: a device that is not seen is an answer, not a failure
      can = 0;
    }
    if (can == 0) return false;
  }
  return true;
}

}  // namespace

PeerMemory::PeerMemory(const Communicator& comm, std::int64_t cols) : group_(comm.split(0, comm.rank())) {
  peers_.count = comm.size();
  peers_.rank = comm.rank();
  peers_.most_cols = cols;
  const bool is_one_node = comm.split_by_node().size() == comm.size();
  if (!all_agree(comm, is_one_node && comm.size() <= Peers::most)) return;
  int own = 0;
  HACK_CUDA(cudaGetDevice(&own));
  // Device numbers agree between processes of a node that see the same devices; where they do not, opening fails below.
  const std::vector<int> devices = all_gather<int>(comm, std::vector<int>{own});
  if (!all_agree(comm, reaches(devices, own))) return;
  const std::size_t used = slot_bytes(peers_) + flag_bytes + count_bytes;
  const std::size_t bytes = (used + mapped_bytes - 1) / mapped_bytes * mapped_bytes;
  void* data = nullptr;
  HACK_CUDA(cudaMalloc(&data, bytes));
  mine_ = static_cast<std::byte*>(data);
  HACK_CUDA(cudaMemset(mine_, 0, bytes));
  HACK_CUDA(cudaStreamSynchronize(cudaStreamLegacy));  // zero before any other rank writes
  open(comm);
}

void PeerMemory::open(const Communicator& comm) {
  cudaIpcMemHandle_t handle{};
  bool is_open = cudaIpcGetMemHandle(&handle, mine_) == cudaSuccess;
  const std::vector<cudaIpcMemHandle_t> handles =
      all_gather<cudaIpcMemHandle_t>(comm, std::vector<cudaIpcMemHandle_t>{handle});
  is_open = all_agree(comm, is_open);
  for (int p = 0; p < peers_.count && is_open; ++p) {
    std::byte* base = mine_;
    if (p != peers_.rank) {
      void* opened = nullptr;
      if (cudaIpcOpenMemHandle(&opened, handles[static_cast<std::size_t>(p)], cudaIpcMemLazyEnablePeerAccess) !=
          cudaSuccess) {
        is_open = false;
        break;
      }
      base = opened_[p] = static_cast<std::byte*>(opened);
    }
    peers_.slots[p] = reinterpret_cast<float*>(base);
    peers_.flags[p] = reinterpret_cast<std::uint32_t*>(base + slot_bytes(peers_));
  }
  if (!is_open) cudaGetLastError();  // clears the error: memory that cannot be opened is an answer, not a failure
  peers_.rounds = reinterpret_cast<std::uint32_t*>(mine_ + slot_bytes(peers_) + flag_bytes);
  is_mapped_ = all_agree(comm, is_open);
}

// CUDA does not say what happens to memory that is freed while others have it mapped: all ranks close first, then all
// free. Where an exception ends this rank the others may never come, and the end of the process frees.
PeerMemory::~PeerMemory() {
  if (mine_ == nullptr) return;
  for (std::byte* opened : opened_) {
    if (opened != nullptr) cudaIpcCloseMemHandle(opened);
  }
  int is_over = 0;
  MPI_Finalized(&is_over);
  if (is_over != 0 || std::uncaught_exceptions() > 0) return;
  const Deadline::Wait wait("MPI_Barrier");
  if (MPI_Barrier(group_.native()) == MPI_SUCCESS) cudaFree(mine_);
}

}  // namespace hack::comm
