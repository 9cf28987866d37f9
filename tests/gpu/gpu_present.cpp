// Leaves all tests out, and says why, where there is no GPU.

#include <gtest/gtest.h>

#include "kernels/device.hpp"
#include "tests/gpu/device_data.hpp"

namespace hack::tests {
namespace {

class NeedsGpu : public testing::Environment {
 public:
  void SetUp() override {
    if (!kernels::is_available(Device::cuda)) GTEST_SKIP() << kernels::why_unavailable(Device::cuda);
  }
};

testing::Environment* const environment = testing::AddGlobalTestEnvironment(new NeedsGpu);

}  // namespace

void set_thread_order(unsigned) {}

}  // namespace hack::tests
