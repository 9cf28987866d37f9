#pragma once

#include <cublasLt.h>

#include <source_location>

#include "kernels/error.hpp"

namespace hack::kernels {

/// Throws an Error with cuBLAS's own message if `code` is not CUBLAS_STATUS_SUCCESS.
inline void check_blas(cublasStatus_t code, const char* call,
                       std::source_location at = std::source_location::current()) {
  if (code != CUBLAS_STATUS_SUCCESS) {
    fail("{} failed: {} ({}:{})", call, cublasLtGetStatusString(code), at.file_name(), at.line());
  }
}

}  // namespace hack::kernels

/// Makes a cuBLAS call and throws an Error naming it if it fails.
#define HACK_BLAS(call) ::hack::kernels::check_blas((call), #call)
