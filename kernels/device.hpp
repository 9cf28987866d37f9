#pragma once

#include <string_view>

namespace hack {

/// Where a buffer lives and who computes on it. A template argument of buffers, views and operations, so that
/// handing a host view to a GPU routine does not compile.
enum class Device { cpu, cuda };

constexpr std::string_view to_string(Device device) { return device == Device::cpu ? "cpu" : "cuda"; }

namespace kernels {

/// Explains why D cannot be used by this build on this machine and what to do; empty where it can.
template <Device D>
std::string_view why_unavailable();
template <>
std::string_view why_unavailable<Device::cpu>();
template <>
std::string_view why_unavailable<Device::cuda>();

/// The same for a device known at run time.
inline std::string_view why_unavailable(Device device) {
  return device == Device::cpu ? why_unavailable<Device::cpu>() : why_unavailable<Device::cuda>();
}

inline bool is_available(Device device) { return why_unavailable(device).empty(); }

}  // namespace kernels
}  // namespace hack
