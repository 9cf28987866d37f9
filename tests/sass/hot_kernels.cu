// Machine code to look at: the kernels of hot_kernels.cuh, and nothing else.

#include "tests/sass/hot_kernels.cuh"

#include "kernels/cuda/enqueue.cuh"

namespace hack::kernels::cuda {

#define HACK_INSTANTIATE_STREAM(instructions, ...) HACK_INSTANTIATE_KERNEL(__VA_ARGS__)

HACK_SASS_STREAMS(HACK_INSTANTIATE_STREAM)
HACK_SASS_RUN_STREAMS(HACK_INSTANTIATE_STREAM)
HACK_SASS_TILES(HACK_INSTANTIATE_STREAM)
HACK_SASS_RUN_TILES(HACK_INSTANTIATE_STREAM)
HACK_SASS_PRODUCTS(HACK_INSTANTIATE_KERNEL)
HACK_SASS_WIDE(HACK_INSTANTIATE_KERNEL)
HACK_SASS_OTHERS(HACK_INSTANTIATE_KERNEL)

}  // namespace hack::kernels::cuda
