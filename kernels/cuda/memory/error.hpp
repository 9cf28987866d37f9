#pragma once

#include <cuda_runtime_api.h>

#include <source_location>

#include "kernels/error.hpp"

namespace hack::kernels {

/// Throws an Error with CUDA's own message if `code` is not cudaSuccess.
inline void check_cuda(cudaError_t code, const char* call, std::source_location at = std::source_location::current()) {
  if (code != cudaSuccess) fail("{} failed: {} ({}:{})", call, cudaGetErrorString(code), at.file_name(), at.line());
}

}  // namespace hack::kernels

/// Makes a CUDA runtime call and throws an Error naming it if it fails.
#define HACK_CUDA(call) ::hack::kernels::check_cuda((call), #call)
