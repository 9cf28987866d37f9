#include "tests/comm/fake_gpu/fake_nccl.hpp"

#include <mpi.h>

#include <cstring>
#include <utility>

/// The ranks that came with the same id.
struct ncclComm {
  MPI_Comm ranks;
};

namespace hack::tests {

FakeNccl& fake_nccl() {
  static FakeNccl fake;
  return fake;
}

}  // namespace hack::tests

using hack::tests::fake_nccl;

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = fake_nccl().is_capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static int count = 0;
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const int color = ++count * 1000 + rank;
  std::memcpy(id->internal, &color, sizeof(color));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (config->blocking != 1) return ncclSystemError;  // it would start a thread a call
  int color = 0;
  std::memcpy(&color, id.internal, sizeof(color));
  auto* made = new ncclComm{MPI_COMM_NULL};
  MPI_Comm_split(MPI_COMM_WORLD, color, rank, &made->ranks);
  int found = 0;
  MPI_Comm_size(made->ranks, &found);
  if (found != size) return ncclRemoteError;
  ++fake_nccl().open;
  *comm = made;
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* state) {
  *state = fake_nccl().async_state;
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  MPI_Comm_free(&comm->ranks);
  delete comm;
  --fake_nccl().open;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  ++fake_nccl().aborts;
  return ncclCommDestroy(comm);
}

const char* ncclGetErrorString(ncclResult_t code) {
  return code == ncclRemoteError ? "remote process exited or there was a network error" : "an error";
}

const char* ncclGetLastError(ncclComm_t) { return "connection to rank 1 closed"; }

ncclResult_t ncclGetVersion(int* version) {
  *version = 22809;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* send, void* receive, std::size_t n, ncclDataType_t, ncclRedOp_t, ncclComm_t comm,
                           cudaStream_t) {
  const ncclResult_t code = std::exchange(fake_nccl().next_call, ncclSuccess);
  if (code != ncclSuccess) return code;
  if (send != receive) std::memcpy(receive, send, n * sizeof(float));
  MPI_Allreduce(MPI_IN_PLACE, receive, static_cast<int>(n), MPI_FLOAT, MPI_SUM, comm->ranks);
  return ncclSuccess;
}
