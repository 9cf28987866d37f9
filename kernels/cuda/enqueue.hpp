#pragma once

#include "kernels/cuda/execution.cuh"

namespace hack::kernels::cuda {

/// Puts a kernel on a stream (cudaStream_t). Defined where device code is compiled (enqueue.cuh), for the kernels named
/// at the end of each .cuh file; the host's operations see this declaration alone.
template <class Kernel>
void enqueue(const Kernel& kernel, void* stream);

/// Throws an Error naming the kernel if `code` (a cudaError_t) is not success.
void check_launch(int code, const char* kernel);

}  // namespace hack::kernels::cuda
