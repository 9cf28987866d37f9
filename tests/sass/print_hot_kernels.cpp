// Prints what hot_kernels.cuh says of each kernel, and its launch, as one JSON object a line: check_sass.py reads it.

#include <fmt/core.h>

#include "tests/sass/hot_kernels.cuh"

namespace hack::kernels::cuda {

namespace {

/// Runs that a lane takes in a turn of the loop, of two rows twice or of four.
constexpr int runs_of_turn = 4;

/// Of a launch at the shapes of an 8B model: what its shared memory depends on.
template <class Kernel>
Kernel launched() {
  Kernel kernel{};
  if constexpr (requires { kernel.keys; }) kernel.keys.head_dim = 128;
  if constexpr (requires { kernel.largest_order; }) kernel.largest_order = JacobiSvd::side;
  if constexpr (requires { kernel.normed; }) kernel.x.cols = 4096;
  if constexpr (std::is_same_v<Kernel, RmsNorm>) kernel.x.cols = 4096;
  return kernel;
}

template <class Kernel>
void print(const char* kernel, const char* kind, int instructions, int runs = 0) {
  const Geometry geometry = launched<Kernel>().geometry();
  int blocks = 1, rows_of_block = 0, bytes_of_warp = 0, scales = 0;
  if constexpr (requires { Kernel::least_blocks; }) blocks = Kernel::least_blocks;
  if constexpr (requires { Kernel::rows_of_warp; }) {
    rows_of_block = Kernel::rows_of_warp * Kernel::warps;
    bytes_of_warp = Kernel::Stream::bytes_in_flight;
    scales = Kernel::Stream::has_scales ? 1 : 0;
  }
  if constexpr (requires { Kernel::Rows::left_rows; }) {
    bytes_of_warp = Kernel::Rows::bytes_in_flight;
    scales = Kernel::Rows::has_scales ? 1 : 0;
  }
  fmt::print(R"({{"kernel": "{}", "kind": "{}", "instructions": {}, "threads": {}, "blocks": {}, "shared_bytes": {}, )"
             R"("rows_of_block": {}, "bytes_of_warp": {}, "has_scales": {}, "runs": {}}})"
             "\n",
             kernel, kind, instructions, geometry.threads, blocks, 4 * geometry.shared_words, rows_of_block,
             bytes_of_warp, scales, runs);
}

}  // namespace

}  // namespace hack::kernels::cuda

int main() {
  using namespace hack;
  using namespace hack::kernels::cuda;
#define HACK_PRINT_STREAM(instructions, ...) print<__VA_ARGS__>(#__VA_ARGS__, "stream", instructions);
#define HACK_PRINT_RUN_STREAM(instructions, ...) print<__VA_ARGS__>(#__VA_ARGS__, "stream", instructions, runs_of_turn);
#define HACK_PRINT_RUN_TILES(instructions, ...) print<__VA_ARGS__>(#__VA_ARGS__, "tiles", instructions, runs_of_turn);
#define HACK_PRINT_TILES(instructions, ...) print<__VA_ARGS__>(#__VA_ARGS__, "tiles", instructions);
#define HACK_PRINT_PRODUCT(...) print<__VA_ARGS__>(#__VA_ARGS__, "product", 0);
#define HACK_PRINT_WIDE(...) print<__VA_ARGS__>(#__VA_ARGS__, "wide", 0);
#define HACK_PRINT_OTHER(...) print<__VA_ARGS__>(#__VA_ARGS__, "other", 0);
  HACK_SASS_STREAMS(HACK_PRINT_STREAM)
  HACK_SASS_RUN_STREAMS(HACK_PRINT_RUN_STREAM)
  HACK_SASS_TILES(HACK_PRINT_TILES)
  HACK_SASS_RUN_TILES(HACK_PRINT_RUN_TILES)
  HACK_SASS_PRODUCTS(HACK_PRINT_PRODUCT)
  HACK_SASS_WIDE(HACK_PRINT_WIDE)
  HACK_SASS_OTHERS(HACK_PRINT_OTHER)
}
