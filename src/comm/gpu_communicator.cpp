#include "comm/gpu_communicator.hpp"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <chrono>
#include <thread>

#include "comm/collectives.hpp"
#include "kernels/error.hpp"

namespace hack::comm {
namespace {

ncclComm_t native(void* comm) { return static_cast<ncclComm_t>(comm); }

void pause() { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

}  // namespace

GpuCommunicator::GpuCommunicator(const Communicator& comm) : rank_(comm.rank()) {
  ncclUniqueId id{};
  if (comm.is_root()) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
  broadcast(comm, std::as_writable_bytes(std::span(&id, 1)));
  const Deadline::Wait wait(last_);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t made = nullptr;
  const ncclResult_t code = ncclCommInitRankConfig(&made, comm.size(), id, comm.rank(), &config);
  comm_ = made;
  if (code != ncclInProgress) check(code, last_);
  ncclResult_t state = ncclInProgress;
  while (state == ncclInProgress) {
    check(ncclCommGetAsyncError(made, &state), "ncclCommGetAsyncError");
    if (state == ncclInProgress) pause();
  }
  check(state, last_);
}

GpuCommunicator::~GpuCommunicator() {
  if (comm_ != nullptr) ncclCommDestroy(native(comm_));
}

// A call that is still in progress has been accepted: on_waiting() sees how it ends.
void GpuCommunicator::check(int code, const char* call) {
  if (code == ncclSuccess || code == ncclInProgress) return;
  give_up(fmt::format("{}: {}", call, ncclGetErrorString(static_cast<ncclResult_t>(code))));
}

void GpuCommunicator::give_up(const std::string& reason) {
  wait_.reset();
  const char* detail = comm_ != nullptr ? ncclGetLastError(native(comm_)) : nullptr;
  const std::string more = detail != nullptr && *detail != '\0' ? fmt::format("; {}", detail) : std::string();
  if (comm_ != nullptr) ncclCommAbort(native(comm_));
  comm_ = nullptr;
  fail("rank {} of its group: {} failed ({}{}); look at the other ranks, or set NCCL_DEBUG=WARN", rank_, last_, reason,
       more);
}

void GpuCommunicator::all_reduce_sum(void* stream, float* x, std::int64_t n) {
  last_ = "ncclAllReduce";
  check(ncclAllReduce(x, x, static_cast<std::size_t>(n), ncclFloat32, ncclSum, native(comm_),
                      static_cast<cudaStream_t>(stream)),
        last_);
}

void GpuCommunicator::all_gather(void* stream, const float* mine, std::int64_t n, float* all) {
  last_ = "ncclAllGather";
  check(ncclAllGather(mine, all, static_cast<std::size_t>(n), ncclFloat32, native(comm_),
                      static_cast<cudaStream_t>(stream)),
        last_);
}

void GpuCommunicator::on_waiting() {
  if (comm_ == nullptr) return;
  if (!wait_) wait_.emplace(last_);
  ncclResult_t state = ncclSuccess;
  check(ncclCommGetAsyncError(native(comm_), &state), "ncclCommGetAsyncError");
  check(state, last_);
}

void GpuCommunicator::on_done() { wait_.reset(); }

std::string GpuCommunicator::version() {
  int version = 0;
  ncclGetVersion(&version);
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace hack::comm
