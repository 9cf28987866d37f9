// GPUs that cannot reach each other's memory, or say that they can.

#include "comm/peer_memory.hpp"
#include "kernels/cuda/enqueue.hpp"
#include "kernels/error.hpp"
#include "tests/comm/fake_gpu/fake_nccl.hpp"

namespace hack {

comm::PeerMemory::PeerMemory(const Communicator& comm, std::int64_t)
    : group_(comm.split(0, comm.rank())), is_mapped_(tests::fake_nccl().maps_memory) {}
comm::PeerMemory::~PeerMemory() = default;

template <>
void kernels::cuda::enqueue(const ReduceAddNorm&, void*) {
  throw Error("a launch where no memory is mapped");
}

}  // namespace hack
