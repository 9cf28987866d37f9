#include "tests/fuzz/session.hpp"

#include <optional>

#include <fmt/core.h>

#include "comm/environment.hpp"
#include "tests/support/temporary_directory.hpp"

/// No length in a file of at most a few hundred KiB may ask for more than this; MPI and OpenBLAS keep memory to the
/// end.
extern "C" const char* __asan_default_options() {
  return "max_allocation_size_mb=512:detect_leaks=0:allocator_may_return_null=0:handle_abort=1";
}

namespace hack::fuzz {

void begin(int argc, char** argv) {
  static std::optional<comm::Environment> environment;
  environment.emplace(argc, argv);
}

void write_seeds(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  int number = 0;
  for (const std::string& seed : target().seeds())
    testing::write_file(folder / fmt::format("seed-{:03}", number++), seed);
}

}  // namespace hack::fuzz
