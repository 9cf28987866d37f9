#pragma once

#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

// What every supported GPU allows: arguments of a launch, and shared memory of a block (sm_80 has least).
constexpr int most_argument_bytes = 4096;
constexpr int most_shared_bytes = 163 * 1024;

/// Puts a kernel on a stream (cudaStream_t). Defined where device code is compiled (enqueue.cuh), for the kernels named
/// at the end of each .cuh file; the host's operations see this declaration alone.
template <class Kernel>
void enqueue(const Kernel& kernel, void* stream);

/// Throws an Error naming the kernel if `code` (a cudaError_t) is not success.
void check_launch(int code, const char* kernel);

}  // namespace hack::kernels::cuda
