// A build without CUDA.

#include "comm/gpu.hpp"
#include "comm/gpu_collectives.hpp"
#include "kernels/error.hpp"

namespace hack::comm {

GpuChoice choose_gpu(const Communicator&) { throw Error(std::string(kernels::why_unavailable(Device::cuda))); }

std::shared_ptr<GpuCollectives> make_gpu_collectives(const Communicator&) { return nullptr; }

}  // namespace hack::comm
