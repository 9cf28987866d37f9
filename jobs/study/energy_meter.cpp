#include "jobs/study/energy_meter.hpp"

#include <dlfcn.h>

namespace hack::jobs {
namespace {

constexpr int success = 0;  // of NVML's calls

template <class Function>
Function find(void* library, const char* name) {
  return reinterpret_cast<Function>(dlsym(library, name));
}

}  // namespace

EnergyMeter::EnergyMeter(const std::string& library) : library_(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (library_ == nullptr) return;
  const auto start = find<int (*)()>(library_, "nvmlInit_v2");
  device_at_ = find<DeviceAt>(library_, "nvmlDeviceGetHandleByPciBusId_v2");
  const auto energy_of = find<EnergyOf>(library_, "nvmlDeviceGetTotalEnergyConsumption");
  if (start == nullptr || device_at_ == nullptr || start() != success) return;
  energy_of_ = energy_of;
}

EnergyMeter::~EnergyMeter() {
  if (library_ == nullptr) return;
  const auto stop = find<int (*)()>(library_, "nvmlShutdown");
  if (is_there() && stop != nullptr) stop();
  dlclose(library_);
}

std::optional<double> EnergyMeter::joules(const std::string& pci_address) const {
  void* device = nullptr;
  unsigned long long millijoules = 0;
  if (!is_there() || device_at_(pci_address.c_str(), &device) != success) return std::nullopt;
  if (energy_of_(device, &millijoules) != success) return std::nullopt;
  return static_cast<double>(millijoules) / 1000;
}

}  // namespace hack::jobs
