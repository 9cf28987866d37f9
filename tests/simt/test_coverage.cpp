// No kernel of kernels/cuda goes untested.

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include <gtest/gtest.h>

#include "kernels/cuda/kernel_list.cuh"
#include "tests/simt/emulator.hpp"
#include "tests/support/paths.hpp"

namespace hack::simt {
namespace {

std::vector<std::string> listed_kernels() {
  std::vector<std::string> names;
#define HACK_NAME(...) names.push_back(#__VA_ARGS__);
  HACK_ALL_KERNELS(HACK_NAME)
#undef HACK_NAME
  return names;
}

/// When all tests of this program have run, each kernel has.
class EveryKernelRuns : public testing::Environment {
 public:
  void TearDown() override {
    if (testing::GTEST_FLAG(filter) != "*") return;
    for (const std::string& kernel : listed_kernels()) {
      EXPECT_TRUE(kernels_run().count(kernel)) << kernel << " was run by no test";
    }
  }
};

testing::Environment* const environment = testing::AddGlobalTestEnvironment(new EveryKernelRuns);

TEST(Coverage, TheListNamesEveryKernel) {
  std::set<std::string> listed;
  for (const std::string& kernel : listed_kernels()) listed.insert(kernel.substr(0, kernel.find('<')));
  std::set<std::string> written;
  const std::regex name("constexpr const char\\* name = \"([A-Za-z]+)\"");
  for (const auto& file : std::filesystem::recursive_directory_iterator(HACK_SOURCE_DIR "/kernels/cuda")) {
    if (file.path().extension() != ".cuh") continue;
    std::ifstream stream(file.path());
    for (std::string line; std::getline(stream, line);) {
      std::smatch found;
      if (std::regex_search(line, found, name) && line.find("//") == std::string::npos) written.insert(found[1]);
    }
  }
  EXPECT_EQ(listed, written);
}

}  // namespace
}  // namespace hack::simt
