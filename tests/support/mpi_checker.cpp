// A library to be loaded before MPI (LD_PRELOAD): watches how a program uses MPI, through MPI's profiling interface.
//
//   mismatched collectives   every rank of a communicator makes the same collective calls in the same order, with the
//                            same root, and where MPI asks for it the same amount: checked in front of each call
//   leaks                    requests, communicators, windows, groups and infos that are not freed before MPI_Finalize
//
// Objects count where the program's own code makes them, not where a library such as HDF5 does. A mismatch ends the run
// with exit status 97 and a sentence on standard error, a leak with status 98.

#include <dlfcn.h>
#include <mpi.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

constexpr int mismatch = 97;
constexpr int leak = 98;

/// What all ranks of a communicator have to agree on.
struct Call {
  char name[32] = {};
  std::int64_t root = -1;
  std::int64_t bytes = -1;  // where all ranks give the same amount
};

std::mutex mutex;
int watched = MPI_KEYVAL_INVALID;  // an attribute of communicators: a duplicate of them, for the checks
std::map<std::string, std::map<std::uintptr_t, std::string>> objects;  // by kind: handle, who made it

int rank_in_world() {
  int rank = 0;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

int free_duplicate(MPI_Comm, int, void* value, void*) {
  auto* duplicate = static_cast<MPI_Comm*>(value);
  PMPI_Comm_free(duplicate);
  delete duplicate;
  return MPI_SUCCESS;
}

/// The communicator's twin; the first call for a communicator is collective, as what is checked is.
MPI_Comm twin_of(MPI_Comm comm) {
  if (watched == MPI_KEYVAL_INVALID) PMPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, free_duplicate, &watched, nullptr);
  MPI_Comm* twin = nullptr;
  int found = 0;
  PMPI_Comm_get_attr(comm, watched, &twin, &found);
  if (found == 0) {
    twin = new MPI_Comm;
    PMPI_Comm_dup(comm, twin);
    PMPI_Comm_set_attr(comm, watched, twin);
  }
  return *twin;
}

std::string words_of(const Call& call) {
  std::string text = call.name;
  if (call.root >= 0) text += ", root " + std::to_string(call.root);
  if (call.bytes >= 0) text += ", " + std::to_string(call.bytes) + " bytes";
  return text;
}

void check(MPI_Comm comm, const char* name, int root = -1, std::int64_t bytes = -1) {
  Call mine;
  std::strncpy(mine.name, name, sizeof(mine.name) - 1);
  mine.root = root;
  mine.bytes = bytes;
  int size = 0, rank = 0;
  PMPI_Comm_size(comm, &size);
  PMPI_Comm_rank(comm, &rank);
  std::vector<Call> all(static_cast<std::size_t>(size));
  PMPI_Allgather(&mine, sizeof(mine), MPI_BYTE, all.data(), sizeof(mine), MPI_BYTE, twin_of(comm));
  if (std::memcmp(&all[0], &mine, sizeof(mine)) == 0) return;
  std::fprintf(stderr, "mpi_checker: rank %d calls %s where rank 0 of the communicator calls %s\n", rank_in_world(),
               words_of(mine).c_str(), words_of(all[0]).c_str());
  PMPI_Abort(MPI_COMM_WORLD, mismatch);
}

std::int64_t bytes_of(int count, MPI_Datatype type) {
  int size = 0;
  PMPI_Type_size(type, &size);
  return std::int64_t{count} * size;
}

/// Whether an address lies in the program itself or in a library of its own, not in HDF5 or MPI.
bool is_own_code(void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return true;
  for (const char* other : {"libhdf5", "libmpi", "libopen-", "mca_", "libpmix"}) {
    if (std::strstr(info.dli_fname, other) != nullptr) return false;
  }
  return true;
}

template <class Handle>
std::uintptr_t key_of(Handle handle) {
  std::uintptr_t key = 0;
  std::memcpy(&key, &handle, sizeof(handle));
  return key;
}

template <class Handle>
void made(const char* kind, Handle handle, const char* by, void* caller) {
  if (!is_own_code(caller)) return;
  const std::lock_guard lock(mutex);
  objects[kind][key_of(handle)] = by;
}

template <class Handle>
void gone(const char* kind, Handle handle) {
  const std::lock_guard lock(mutex);
  objects[kind].erase(key_of(handle));
}

void report_leaks() {
  bool any = false;
  for (const auto& [kind, left] : objects) {
    std::map<std::string, int> counts;
    for (const auto& [handle, by] : left) ++counts[by];
    for (const auto& [by, count] : counts) {
      std::fprintf(stderr, "mpi_checker: rank %d leaves %d %s of %s\n", rank_in_world(), count, kind.c_str(),
                   by.c_str());
      any = true;
    }
  }
  if (any) PMPI_Abort(MPI_COMM_WORLD, leak);
}

}  // namespace

#define HACK_CALLER __builtin_return_address(0)

extern "C" {

int MPI_Finalize() {
  report_leaks();
  return PMPI_Finalize();
}

int MPI_Barrier(MPI_Comm comm) {
  check(comm, "MPI_Barrier");
  return PMPI_Barrier(comm);
}

int MPI_Ibarrier(MPI_Comm comm, MPI_Request* request) {
  check(comm, "MPI_Ibarrier");
  const int code = PMPI_Ibarrier(comm, request);
  made("requests", *request, "MPI_Ibarrier", HACK_CALLER);
  return code;
}

int MPI_Bcast(void* buffer, int count, MPI_Datatype type, int root, MPI_Comm comm) {
  check(comm, "MPI_Bcast", root, bytes_of(count, type));
  return PMPI_Bcast(buffer, count, type, root, comm);
}

int MPI_Allreduce(const void* in, void* out, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  check(comm, "MPI_Allreduce", -1, bytes_of(count, type));
  return PMPI_Allreduce(in, out, count, type, op, comm);
}

int MPI_Exscan(const void* in, void* out, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  check(comm, "MPI_Exscan", -1, bytes_of(count, type));
  return PMPI_Exscan(in, out, count, type, op, comm);
}

int MPI_Allgather(const void* in, int count, MPI_Datatype type, void* out, int out_count, MPI_Datatype out_type,
                  MPI_Comm comm) {
  check(comm, "MPI_Allgather", -1, bytes_of(out_count, out_type));
  return PMPI_Allgather(in, count, type, out, out_count, out_type, comm);
}

int MPI_Allgatherv(const void* in, int count, MPI_Datatype type, void* out, const int counts[], const int places[],
                   MPI_Datatype out_type, MPI_Comm comm) {
  int size = 0;
  PMPI_Comm_size(comm, &size);
  std::int64_t all = 0;
  for (int r = 0; r < size; ++r) all += bytes_of(counts[r], out_type);
  check(comm, "MPI_Allgatherv", -1, all);
  return PMPI_Allgatherv(in, count, type, out, counts, places, out_type, comm);
}

int MPI_Gatherv(const void* in, int count, MPI_Datatype type, void* out, const int counts[], const int places[],
                MPI_Datatype out_type, int root, MPI_Comm comm) {
  check(comm, "MPI_Gatherv", root);
  return PMPI_Gatherv(in, count, type, out, counts, places, out_type, root, comm);
}

int MPI_Scatter(const void* in, int count, MPI_Datatype type, void* out, int out_count, MPI_Datatype out_type, int root,
                MPI_Comm comm) {
  check(comm, "MPI_Scatter", root, bytes_of(out_count, out_type));
  return PMPI_Scatter(in, count, type, out, out_count, out_type, root, comm);
}

int MPI_Comm_dup(MPI_Comm comm, MPI_Comm* out) {
  check(comm, "MPI_Comm_dup");
  const int code = PMPI_Comm_dup(comm, out);
  made("communicators", *out, "MPI_Comm_dup", HACK_CALLER);
  return code;
}

int MPI_Comm_split(MPI_Comm comm, int color, int key, MPI_Comm* out) {
  check(comm, "MPI_Comm_split");
  const int code = PMPI_Comm_split(comm, color, key, out);
  if (*out != MPI_COMM_NULL) made("communicators", *out, "MPI_Comm_split", HACK_CALLER);
  return code;
}

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm* out) {
  check(comm, "MPI_Comm_split_type");
  const int code = PMPI_Comm_split_type(comm, type, key, info, out);
  if (*out != MPI_COMM_NULL) made("communicators", *out, "MPI_Comm_split_type", HACK_CALLER);
  return code;
}

int MPI_Comm_free(MPI_Comm* comm) {
  gone("communicators", *comm);
  return PMPI_Comm_free(comm);
}

int MPI_Win_allocate_shared(MPI_Aint size, int unit, MPI_Info info, MPI_Comm comm, void* base, MPI_Win* window) {
  check(comm, "MPI_Win_allocate_shared");
  const int code = PMPI_Win_allocate_shared(size, unit, info, comm, base, window);
  if (code == MPI_SUCCESS) made("windows", *window, "MPI_Win_allocate_shared", HACK_CALLER);
  return code;
}

int MPI_Win_free(MPI_Win* window) {
  gone("windows", *window);
  return PMPI_Win_free(window);
}

int MPI_Comm_group(MPI_Comm comm, MPI_Group* group) {
  const int code = PMPI_Comm_group(comm, group);
  made("groups", *group, "MPI_Comm_group", HACK_CALLER);
  return code;
}

int MPI_Group_free(MPI_Group* group) {
  gone("groups", *group);
  return PMPI_Group_free(group);
}

int MPI_Info_create(MPI_Info* info) {
  const int code = PMPI_Info_create(info);
  made("infos", *info, "MPI_Info_create", HACK_CALLER);
  return code;
}

int MPI_Info_free(MPI_Info* info) {
  gone("infos", *info);
  return PMPI_Info_free(info);
}

int MPI_Isend(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request* request) {
  const int code = PMPI_Isend(data, count, type, to, tag, comm, request);
  made("requests", *request, "MPI_Isend", HACK_CALLER);
  return code;
}

int MPI_Irecv(void* data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request* request) {
  const int code = PMPI_Irecv(data, count, type, from, tag, comm, request);
  made("requests", *request, "MPI_Irecv", HACK_CALLER);
  return code;
}

int MPI_Wait(MPI_Request* request, MPI_Status* status) {
  const MPI_Request before = *request;
  const int code = PMPI_Wait(request, status);
  gone("requests", before);
  return code;
}

int MPI_Test(MPI_Request* request, int* done, MPI_Status* status) {
  const MPI_Request before = *request;
  const int code = PMPI_Test(request, done, status);
  if (*done != 0) gone("requests", before);
  return code;
}

int MPI_Request_free(MPI_Request* request) {
  gone("requests", *request);
  return PMPI_Request_free(request);
}

}  // extern "C"
