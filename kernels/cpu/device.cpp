#include "kernels/device.hpp"

#include "kernels/config.hpp"

namespace hack::kernels {

bool is_available(Device device) { return why_unavailable(device).empty(); }

std::string_view why_unavailable(Device device) {
  if (device == Device::cpu) return {};
  return "this program was built without CUDA code (configure with -DHACK_WITH_CUDA=ON where the CUDA Toolkit "
         "and NCCL are installed); use --device cpu";
}

}  // namespace hack::kernels
