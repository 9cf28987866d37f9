#include "comm/gpu_communicator.hpp"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "comm/collectives.hpp"
#include "comm/environment.hpp"
#include "kernels/error.hpp"

namespace hack::comm {
namespace {

ncclComm_t native(void* comm) { return static_cast<ncclComm_t>(comm); }

}  // namespace

// Rows as long as any model's hidden size: 1 MiB on each GPU.
GpuCommunicator::GpuCommunicator(const Communicator& comm) : peers_(comm, 16 * 1024), rank_(comm.rank()) {
  ncclUniqueId id{};
  if (comm.is_root()) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
  broadcast(comm, std::as_writable_bytes(std::span(&id, 1)));
  const Deadline::Wait wait(last_);
  // Calls that return at once would each take a thread of NCCL's, which it leaves behind. Those that wait for the other
  // ranks end by the deadline, whose thread looks on.
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 1;
  ncclComm_t made = nullptr;
  const ncclResult_t code = ncclCommInitRankConfig(&made, comm.size(), id, comm.rank(), &config);
  comm_ = made;
  check(code, last_);
}

GpuCommunicator::~GpuCommunicator() {
  if (comm_ != nullptr) ncclCommDestroy(native(comm_));
}

void GpuCommunicator::check(int code, const char* call) {
  if (code == ncclSuccess) return;
  give_up(fmt::format("{}: {}", call, ncclGetErrorString(static_cast<ncclResult_t>(code))));
}

// What is captured is replayed without a word: from then on any wait may be for it.
void GpuCommunicator::note_collective(void* stream) {
  is_pending_ = true;
  cudaStreamCaptureStatus state = cudaStreamCaptureStatusNone;
  cudaStreamIsCapturing(static_cast<cudaStream_t>(stream), &state);
  is_replayed_ = is_replayed_ || state != cudaStreamCaptureStatusNone;
}

void GpuCommunicator::give_up(const std::string& reason) {
  wait_.reset();
  const char* detail = comm_ != nullptr ? ncclGetLastError(native(comm_)) : nullptr;
  const std::string more = detail != nullptr && *detail != '\0' ? fmt::format("; {}", detail) : std::string();
  const std::string message =
      fmt::format("rank {} of its group: {} failed ({}{}); look at the other ranks, or set NCCL_DEBUG=WARN", rank_,
                  last_, reason, more);
  // A kernel of our own may wait for a rank that is gone, for ever, and whoever frees memory for that kernel: the
  // process ends here.
  if (peers_.peers() != nullptr) Environment::abort(message);
  if (comm_ != nullptr) ncclCommAbort(native(comm_));
  comm_ = nullptr;
  throw Error(message);
}

void GpuCommunicator::all_reduce_sum(void* stream, float* x, std::int64_t n) {
  last_ = "ncclAllReduce";
  note_collective(stream);
  check(ncclAllReduce(x, x, static_cast<std::size_t>(n), ncclFloat32, ncclSum, native(comm_),
                      static_cast<cudaStream_t>(stream)),
        last_);
}

// The one place that chooses by size.
bool GpuCommunicator::add_reduced_and_norm(void* stream, const ResidualNorm<Device::cuda>& work) {
  using kernels::cuda::array_of;
  using kernels::cuda::Peers;
  const Peers* peers = peers_.peers();
  if (peers == nullptr || work.x.rows > Peers::most_rows || work.x.cols > peers->most_cols) return false;
  last_ = "a sum through memory of other GPUs";
  note_collective(stream);
  kernels::cuda::enqueue(
      kernels::cuda::ReduceAddNorm{*peers, array_of(MatrixView<const float, Device::cuda>(work.y)), array_of(work.x),
                                   work.weight, work.epsilon, array_of(work.normed)},
      stream);
  return true;
}

void GpuCommunicator::on_waiting() {
  if (comm_ == nullptr) return;
  if (!wait_ && (is_pending_ || is_replayed_)) wait_.emplace(last_);
  ncclResult_t state = ncclSuccess;
  check(ncclCommGetAsyncError(native(comm_), &state), "ncclCommGetAsyncError");
  check(state, last_);
}

void GpuCommunicator::on_done() {
  wait_.reset();
  is_pending_ = false;
}

std::string GpuCommunicator::version() {
  int version = 0;
  ncclGetVersion(&version);
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace hack::comm
