#include "kernels/device.hpp"

#include <string>

#include "kernels/cuda/error.hpp"

namespace hack::kernels {

template <>
std::string_view why_unavailable<Device::cuda>() {
  static const std::string reason = [] {
    int devices = 0;
    const cudaError_t code = cudaGetDeviceCount(&devices);
    if (code != cudaSuccess || devices == 0) {
      return fmt::format("no GPU can be used ({}); look at nvidia-smi, or use --device cpu", cudaGetErrorString(code));
    }
    // Memory and queues are here; the operations of kernels/stub take the place of the ones still to be written.
    return std::string("this version has no operations for GPUs; use --device cpu");
  }();
  return reason;
}

}  // namespace hack::kernels
