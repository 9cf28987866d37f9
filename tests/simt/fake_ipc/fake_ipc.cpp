#include "tests/simt/fake_ipc/fake_ipc.hpp"

#include <cuda_runtime_api.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <utility>

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
  int lock;  // of another process's memory: the file, locked
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
  const bool is_others = name.empty();
  if (is_others) {
    flock(file, LOCK_SH);
  } else {
    close(file);
  }
  if (*data == MAP_FAILED) return cudaErrorMemoryAllocation;
  mappings()[*data] = {name, bytes, is_others ? file : -1};
  ++fake_ipc().open;
  return cudaSuccess;
}

cudaError_t failed() {
  fake_ipc().has_error = true;
  return cudaErrorInvalidValue;
}

/// Whether another process has a file open, by a lock that each mapping holds.
bool is_open_elsewhere(const std::string& name) {
  const int file = shm_open(name.c_str(), O_RDWR, 0600);
  const bool is_free = flock(file, LOCK_EX | LOCK_NB) == 0;
  close(file);
  return !is_free;
}

}  // namespace

const char* cudaGetErrorString(cudaError_t) { return "an error"; }
cudaError_t cudaGetLastError() {
  return std::exchange(fake_ipc().has_error, false) ? cudaErrorInvalidValue : cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaGetDevice(int* device) {
  *device = static_cast<int>(getpid());
  return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  if (!fake_ipc().knows_peers) return failed();
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
  const std::string name = mappings().at(data).name;
  if (is_open_elsewhere(name)) fake_ipc().freed_while_open = true;
  shm_unlink(name.c_str());
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
  if (!fake_ipc().can_open) return failed();
  Handle in{};
  std::memcpy(&in, handle.reserved, sizeof(in));
  const int file = shm_open(in.name, O_RDWR, 0600);
  if (file < 0) return cudaErrorInvalidValue;
  return map_file(file, in.bytes, {}, data);
}

cudaError_t cudaIpcCloseMemHandle(void* data) {
  munmap(data, mappings().at(data).bytes);
  if (mappings().at(data).lock >= 0) close(mappings().at(data).lock);
  mappings().erase(data);
  --fake_ipc().open;
  return cudaSuccess;
}
