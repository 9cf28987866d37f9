#pragma once

#include <optional>
#include <string>

namespace hack::jobs {

/// The energy counters of NVIDIA's GPUs, by the management library that comes with their driver (NVML): loaded when it
/// is there, needed for nothing.
class EnergyMeter {
 public:
  explicit EnergyMeter(const std::string& library = "libnvidia-ml.so.1");
  ~EnergyMeter();
  EnergyMeter(const EnergyMeter&) = delete;
  EnergyMeter& operator=(const EnergyMeter&) = delete;

  /// Whether the library is there and at work.
  bool is_there() const { return energy_of_ != nullptr; }

  /// Joules that the GPU at a PCI address ("0000:17:00.0") has taken since its driver was loaded; nothing where it does
  /// not tell (cards before Volta, no library). The card updates it every 20 to 100 ms.
  std::optional<double> joules(const std::string& pci_address) const;

 private:
  using DeviceAt = int (*)(const char* pci_address, void** device);
  using EnergyOf = int (*)(void* device, unsigned long long* millijoules);

  void* library_ = nullptr;
  DeviceAt device_at_ = nullptr;
  EnergyOf energy_of_ = nullptr;
};

}  // namespace hack::jobs
