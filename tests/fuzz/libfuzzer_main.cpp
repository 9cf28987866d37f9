// What libFuzzer calls. `PROGRAM --write-seeds FOLDER` writes the seed corpus and ends.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tests/fuzz/session.hpp"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  hack::fuzz::begin(*argc, *argv);
  if (*argc == 3 && std::string_view((*argv)[1]) == "--write-seeds") {
    hack::fuzz::write_seeds((*argv)[2]);
    std::exit(0);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  hack::fuzz::target().read({reinterpret_cast<const char*>(data), size});
  return 0;
}
