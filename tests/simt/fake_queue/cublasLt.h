#pragma once

// As much of cuBLASLt's header as a queue needs.

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0 };
struct cublasLtContext;
using cublasLtHandle_t = cublasLtContext*;

const char* cublasLtGetStatusString(cublasStatus_t status);
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle);
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle);
