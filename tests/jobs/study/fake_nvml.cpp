// A management library of a machine with GPUs that nobody has: those at addresses that end in ".0" take 2.5 J between
// two looks at their counter, others tell nothing.

#include <cstring>

namespace {

unsigned long long looks = 0;
bool is_started = false;

}  // namespace

extern "C" {

int nvmlInit_v2() {
  is_started = true;
  return 0;
}

int nvmlShutdown() {
  is_started = false;
  return 0;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char* address, void** device) {
  constexpr int not_found = 6;
  if (!is_started || std::strncmp(address, "0000:", 5) != 0) return not_found;
  *device = std::strcmp(address + std::strlen(address) - 2, ".0") == 0 ? &looks : nullptr;
  return 0;
}

int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* millijoules) {
  constexpr int not_supported = 3;
  if (device == nullptr) return not_supported;
  *millijoules = 1000000 + 2500 * looks++;
  return 0;
}
}
