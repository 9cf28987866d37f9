#pragma once

#include "kernels/cuda/enqueue.hpp"

namespace hack::kernels::cuda {

/// How many blocks are to fit a multiprocessor, where a kernel says so: what bounds its registers.
template <class Kernel>
constexpr int blocks_of_multiprocessor = 1;
template <class Kernel>
requires requires { Kernel::least_blocks; }
constexpr int blocks_of_multiprocessor<Kernel> = Kernel::least_blocks;

template <class Kernel>
__global__ void __launch_bounds__(Kernel::max_threads, blocks_of_multiprocessor<Kernel>)
    run(const __grid_constant__ Kernel kernel) {
  extern __shared__ __align__(16) std::uint32_t shared[];
  CudaExecution exec(shared);
  kernel(exec);
}

template <class Kernel>
void enqueue(const Kernel& kernel, void* stream) {
  static_assert(sizeof(Kernel) <= most_argument_bytes);
  constexpr int default_limit = 48 * 1024;
  const Geometry geometry = kernel.geometry();
  if (geometry.blocks == 0) return;
  const int shared_bytes = geometry.shared_words * 4;
  if (shared_bytes > default_limit) {
    check_launch(cudaFuncSetAttribute(run<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
                 Kernel::name);
  }
  run<<<static_cast<unsigned>(geometry.blocks), geometry.threads, shared_bytes, static_cast<cudaStream_t>(stream)>>>(
      kernel);
  check_launch(cudaGetLastError(), Kernel::name);
}

}  // namespace hack::kernels::cuda

#define HACK_INSTANTIATE_KERNEL(...) template void enqueue(const __VA_ARGS__&, void*);
