#pragma once

#include <string_view>

namespace hack {

/// Where a buffer lives and who computes on it. A template argument of buffers, views and operations, so that
/// handing a host view to a GPU routine does not compile.
enum class Device { cpu, cuda };

constexpr std::string_view to_string(Device device) {
  return device == Device::cpu ? "cpu" : "cuda";
}

namespace kernels {

/// Whether this build has code for `device` and this machine has such a device.
bool is_available(Device device);

/// Explains why `device` cannot be used here and what to do; empty where it can.
std::string_view why_unavailable(Device device);

}  // namespace kernels
}  // namespace hack
