#include "tests/simt/fake_ipc/fake_ipc.hpp"

#include <cuda_runtime_api.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <string>

namespace hack::tests {

FakeIpc& fake_ipc() {
  static FakeIpc fake;
  return fake;
}

}  // namespace hack::tests

using hack::tests::fake_ipc;

namespace {

struct Mapping {
  std::string name;  // empty: another process's
  std::size_t bytes;
};

std::map<void*, Mapping>& mappings() {
  static std::map<void*, Mapping> all;
  return all;
}

/// What a handle says.
struct Handle {
  char name[48];
  std::size_t bytes;
};
static_assert(sizeof(Handle) <= sizeof(cudaIpcMemHandle_t));

cudaError_t map_file(int file, std::size_t bytes, const std::string& name, void** data) {
  *data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (*data == MAP_FAILED) return cudaErrorMemoryAllocation;
  mappings()[*data] = {name, bytes};
  ++fake_ipc().open;
  return cudaSuccess;
}

}  // namespace

const char* cudaGetErrorString(cudaError_t) { return "an error"; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaGetDevice(int* device) {
  *device = static_cast<int>(getpid());
  return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = fake_ipc().can_reach;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  static int count = 0;
  const std::string name = "/hack-peers-" + std::to_string(getpid()) + "-" + std::to_string(count++);
  const int file = shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
  if (file < 0 || ftruncate(file, static_cast<off_t>(bytes)) != 0) return cudaErrorMemoryAllocation;
  return map_file(file, bytes, name, data);
}

cudaError_t cudaFree(void* data) {
  shm_unlink(mappings().at(data).name.c_str());
  return cudaIpcCloseMemHandle(data);
}

cudaError_t cudaMemset(void* data, int value, std::size_t bytes) {
  std::memset(data, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t* handle, void* data) {
  const Mapping& mapping = mappings().at(data);
  Handle out{};
  std::snprintf(out.name, sizeof(out.name), "%s", mapping.name.c_str());
  out.bytes = mapping.bytes;
  std::memcpy(handle->reserved, &out, sizeof(out));
  return cudaSuccess;
}

cudaError_t cudaIpcOpenMemHandle(void** data, cudaIpcMemHandle_t handle, unsigned) {
  if (!fake_ipc().can_open) return cudaErrorInvalidValue;
  Handle in{};
  std::memcpy(&in, handle.reserved, sizeof(in));
  const int file = shm_open(in.name, O_RDWR, 0600);
  if (file < 0) return cudaErrorInvalidValue;
  return map_file(file, in.bytes, {}, data);
}

cudaError_t cudaIpcCloseMemHandle(void* data) {
  munmap(data, mappings().at(data).bytes);
  mappings().erase(data);
  --fake_ipc().open;
  return cudaSuccess;
}
