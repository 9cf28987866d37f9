#include "kernels/device.hpp"

namespace hack::kernels {

template <>
std::string_view why_unavailable<Device::cpu>() {
  return {};
}

}  // namespace hack::kernels
