// A GPU's queue as it is, on a CUDA that writes down what is called.

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cuda/memory/resources.hpp"

namespace {

std::vector<std::string> calls;
int polls_until_ready = 0;
cudaError_t last_error = cudaSuccess;

cudaError_t note(const char* call) {
  calls.emplace_back(call);
  return cudaSuccess;
}

}  // namespace

const char* cudaGetErrorString(cudaError_t) { return "an error"; }
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t*, unsigned) { return note("stream made"); }
cudaError_t cudaStreamDestroy(cudaStream_t) { return note("stream destroyed"); }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return note("stream waited for"); }
cudaError_t cudaStreamQuery(cudaStream_t) {
  if (polls_until_ready-- <= 0) return cudaSuccess;
  return last_error = cudaErrorNotReady;  // as CUDA keeps it, too
}
cudaError_t cudaMemcpy2DAsync(void*, std::size_t, const void*, std::size_t, std::size_t, std::size_t, cudaMemcpyKind,
                              cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void*, const void*, std::size_t, cudaMemcpyKind, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaMemsetAsync(void*, int, std::size_t, cudaStream_t) { return cudaSuccess; }

const char* cublasLtGetStatusString(cublasStatus_t) { return "an error"; }
cublasStatus_t cublasLtCreate(cublasLtHandle_t*) {
  note("cuBLASLt made");
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t) {
  note("cuBLASLt destroyed");
  return CUBLAS_STATUS_SUCCESS;
}

namespace hack::kernels {

template <>
void* allocate<Device::cuda>(std::size_t) {
  return nullptr;
}
template <>
void deallocate<Device::cuda>(void*) noexcept {}

namespace {

TEST(GpuQueue, DestroysItsStreamAfterWhatIsBoundToIt) {
  calls.clear();
  {
    Queue<Device::cuda> queue(1);
    queue.resources().dense_library() = std::shared_ptr<void>(nullptr, [](void*) { note("dense library destroyed"); });
  }
  EXPECT_EQ(calls, (std::vector<std::string>{"stream made", "cuBLASLt made", "dense library destroyed",
                                             "cuBLASLt destroyed", "stream destroyed"}));
}

struct CountedWaits : cuda::WaitObserver {
  int waits = 0, ends = 0;
  void on_waiting() override { ++waits; }
  void on_done() override { ++ends; }
};

TEST(GpuQueue, LeavesNoErrorBehindWhileItWaits) {
  Queue<Device::cuda> queue(1);
  CountedWaits observer;
  queue.resources().observe(&observer);
  polls_until_ready = 3;
  queue.wait();
  EXPECT_EQ(observer.waits, 3);
  EXPECT_EQ(observer.ends, 1);
  EXPECT_EQ(last_error, cudaSuccess);  // else the next launch would be blamed for it
}

}  // namespace
}  // namespace hack::kernels
