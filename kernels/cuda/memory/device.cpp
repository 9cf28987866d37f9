#include "kernels/device.hpp"

#include <string>

#include "kernels/cuda/memory/error.hpp"
#include "kernels/cuda/memory/resources.hpp"

namespace hack::kernels {

template <>
std::string_view why_unavailable<Device::cuda>() {
  // Never destroyed: were its destructor here, others' uses of it could pull this file into programs with another
  // device.
  static const std::string& reason = *new std::string([] {
    int devices = 0;
    const cudaError_t code = cudaGetDeviceCount(&devices);
    if (code != cudaSuccess || devices == 0) {
      return fmt::format("no GPU can be used ({}); look at nvidia-smi, or compute on CPUs", cudaGetErrorString(code));
    }
    int device = 0, major = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    constexpr int oldest = 8;
    if (major < oldest) {
      return fmt::format("the GPU is of compute capability {}.x ({}.0 or later is needed); compute on CPUs", major,
                         oldest);
    }
    return std::string();
  }());
  return reason;
}

int cuda::multiprocessors() {
  int device = 0, count = 0;
  HACK_CUDA(cudaGetDevice(&device));
  HACK_CUDA(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

index_t cuda::shared_bytes_of_block() {
  int device = 0, bytes = 0;
  HACK_CUDA(cudaGetDevice(&device));
  HACK_CUDA(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return bytes;
}

}  // namespace hack::kernels
