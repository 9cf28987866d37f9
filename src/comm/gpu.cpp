#include "comm/gpu.hpp"

#include <cuda_runtime_api.h>
#include <unistd.h>

#include <string_view>

#include "comm/collectives.hpp"
#include "comm/gpu_communicator.hpp"
#include "kernels/cuda/memory/error.hpp"

namespace hack::comm {
namespace {

bool ranks_share_a_gpu = false;  // as choose_gpu() found

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof(name) - 1);
  return name;
}

}  // namespace

GpuChoice choose_gpu(const Communicator& world) {
  const Communicator node = world.split_by_node();
  int devices = 0;
  HACK_CUDA(cudaGetDeviceCount(&devices));
  validate(devices > 0, "rank {} sees no GPU; ask the scheduler for one per rank, or compute on CPUs", world.rank());
  const int device = node.rank() % devices;
  HACK_CUDA(cudaSetDevice(device));
  cudaDeviceProp properties{};
  HACK_CUDA(cudaGetDeviceProperties(&properties, device));
  // One line a rank: node and unique identifier.
  const std::string mine = host_name() + " " + std::string(properties.uuid.bytes, sizeof(properties.uuid.bytes));
  const std::vector<std::int64_t> lengths =
      all_gather<std::int64_t>(world, std::vector<std::int64_t>{std::ssize(mine)});
  const std::vector<char> all = all_gather<char>(world, std::span<const char>(mine));
  std::vector<std::string> gpus;
  for (std::size_t first = 0, r = 0; r < lengths.size(); first += static_cast<std::size_t>(lengths[r++])) {
    gpus.emplace_back(all.data() + first, static_cast<std::size_t>(lengths[r]));
  }
  ranks_share_a_gpu = any_shared(gpus);
  char address[32] = {};
  HACK_CUDA(cudaDeviceGetPCIBusId(address, sizeof(address), device));
  int cuda = 0;
  HACK_CUDA(cudaRuntimeGetVersion(&cuda));
  return {properties.name, address,
          fmt::format("CUDA {}.{}, NCCL {}", cuda / 1000, cuda % 1000 / 10, GpuCommunicator::version()),
          ranks_share_a_gpu};
}

std::shared_ptr<GpuCollectives> make_gpu_collectives(const Communicator& comm) {
  return ranks_share_a_gpu ? nullptr : std::make_shared<GpuCommunicator>(comm);
}

}  // namespace hack::comm
